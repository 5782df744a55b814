"""Follows a list's nextLinks to the end with urllib and no credential: pages.py BASE PATH_AND_QUERY NAME...

Every link has to lead through BASE, and all pages together have to hold the NAMEs, in order.
"""
import json
import sys
import urllib.request

base, path, *names = sys.argv[1:]
url, found, pages = base + path, [], 0
while url:
    assert url.startswith(base + "/"), f"the next link leads past the proxy: {url}"
    with urllib.request.urlopen(url, timeout=30) as response:
        page = json.load(response)
    found += [item["id"].rsplit("/", 1)[1] for item in page["value"]]
    url, pages = page.get("nextLink"), pages + 1
assert found == names, found
assert pages > 1, "one page shows nothing"
print("ok")
