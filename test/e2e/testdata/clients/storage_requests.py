"""Blob calls with python3-requests and no credential: storage_requests.py BASE CONTAINER"""
import sys

import requests

base, container = sys.argv[1:]
session = requests.Session()


def ask(method, path, **options):
    response = session.request(method, f"{base}/{container}{path}", timeout=30, **options)
    response.raise_for_status()
    return response


ask("PUT", "", params={"restype": "container"})
ask("PUT", "/blob.txt", data=b"hello from requests", headers={"x-ms-blob-type": "BlockBlob"})
assert ask("GET", "/blob.txt").content == b"hello from requests"
ask("PUT", "/blocks.txt", params={"comp": "block", "blockid": "MDAwMQ=="}, data=b"one block")
ask("PUT", "/blocks.txt", params={"comp": "blocklist"}, data="<BlockList><Latest>MDAwMQ==</Latest></BlockList>")
assert ask("GET", "/blocks.txt").content == b"one block"
listed = ask("GET", "", params={"restype": "container", "comp": "list"}).text
assert "<Name>blob.txt</Name>" in listed and "<Name>blocks.txt</Name>" in listed
assert ask("DELETE", "/blob.txt").status_code == 202
assert session.get(f"{base}/{container}/blob.txt", timeout=30).status_code == 404
print("ok")
