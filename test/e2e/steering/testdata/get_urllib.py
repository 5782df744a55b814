"""One GET and its answer: get_urllib.py URL"""
import sys
import urllib.request

print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())
