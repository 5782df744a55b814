"""Key Vault calls with Python's urllib and no credential: vault_urllib.py BASE NAME"""
import json
import sys
import urllib.error
import urllib.request

base, name = sys.argv[1:]


def ask(method, path, value=None):
    data, headers = None, {}
    if value is not None:
        data, headers = json.dumps(value).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}{path}?api-version=7.4", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


written = ask("PUT", f"/secrets/{name}", {"value": "written by urllib", "tags": {"by": "urllib"}})
assert written["value"] == "written by urllib", written
version = written["id"].rsplit("/", 1)[1]
assert ask("GET", f"/secrets/{name}/{version}")["value"] == "written by urllib"
assert ask("PATCH", f"/secrets/{name}/{version}", {"contentType": "text/plain"})["contentType"] == "text/plain"
# What a vault says of itself is data, and stays as it is whatever the base is.
assert written["id"].startswith("https://payroll.vault.azure.net/secrets/"), written["id"]
ask("DELETE", f"/secrets/{name}")
try:
    ask("GET", f"/secrets/{name}")
    sys.exit("the deleted secret is still there")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
print("ok")
