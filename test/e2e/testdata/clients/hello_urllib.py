"""One GET, which has to give "hello": hello_urllib.py URL"""
import sys
import urllib.request

body = urllib.request.urlopen(sys.argv[1], timeout=30).read()
print("ok" if body == b"hello" else body)
