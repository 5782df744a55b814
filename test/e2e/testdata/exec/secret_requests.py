"""Prints a secret, with requests: secret_requests.py URL. It knows of no proxy and no credential."""
import sys

import requests

print(requests.get(sys.argv[1], timeout=30).json()["value"])
