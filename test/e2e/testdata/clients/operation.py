"""Creates a resource of Resource Manager's and follows its long-running operation, with urllib and no credential: operation.py BASE RESOURCE"""
import json
import sys
import urllib.request

base, resource = sys.argv[1:]


def ask(method, url, value=None):
    assert url.startswith(base + "/"), f"the link leads past the proxy: {url}"
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.headers, response.read()


status, headers, body = ask("PUT", f"{base}{resource}?api-version=2024-03-01", {"location": "westeurope"})
assert status == 202 and json.loads(body)["properties"]["provisioningState"] == "Creating", (status, body)
operation, result = headers["Azure-AsyncOperation"], headers["Location"]
states = []
while not states or states[-1] == "InProgress":
    assert len(states) < 10, states
    states.append(json.loads(ask("GET", operation)[2])["status"])
assert states[-1] == "Succeeded" and len(states) > 1, states
status, _, body = ask("GET", result)
assert status == 200 and json.loads(body)["properties"]["provisioningState"] == "Succeeded", (status, body)

# A deletion is followed by Location alone, which each running answer names anew.
status, headers, _ = ask("DELETE", f"{base}{resource}?api-version=2024-03-01")
polls = 0
while status == 202:
    assert polls < 10
    status, headers, _ = ask("GET", headers["Location"])
    polls += 1
assert status == 200 and polls > 1, (status, polls)
print("ok")
