"""Blob calls with Python's urllib and no credential: storage_urllib.py BASE CONTAINER"""
import sys
import urllib.error
import urllib.request

base, container = sys.argv[1:]


def ask(method, path, data=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{base}/{container}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.read()


content = bytes(range(256)) * 1000
assert ask("PUT", "?restype=container", b"")[0] == 201
assert ask("PUT", "/blob.bin", content, x_ms_blob_type="BlockBlob", Content_Type="application/octet-stream")[0] == 201
assert ask("GET", "/blob.bin") == (200, content)
assert b"<Name>blob.bin</Name>" in ask("GET", "?restype=container&comp=list")[1]
assert ask("DELETE", "/blob.bin")[0] == 202
try:
    ask("GET", "/blob.bin")
    sys.exit("the deleted blob is still there")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
print("ok")
