"""Prints a secret: secret.py URL. It knows of no proxy and no credential."""
import json
import sys
import urllib.request

print(json.load(urllib.request.urlopen(sys.argv[1], timeout=30))["value"])
