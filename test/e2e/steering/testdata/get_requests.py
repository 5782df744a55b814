"""One GET and its answer: get_requests.py URL"""
import sys

import requests

print(requests.get(sys.argv[1], timeout=30).text)
