"""One GET, which has to give "hello": hello_requests.py URL"""
import sys

import requests

body = requests.get(sys.argv[1], timeout=30).content
print("ok" if body == b"hello" else body)
