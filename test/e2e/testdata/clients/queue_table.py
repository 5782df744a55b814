"""Queue and table calls with urllib and no credential: queue_table.py QUEUE_BASE TABLE_BASE NAME"""
import base64
import json
import sys
import urllib.request

queues, tables, name = sys.argv[1:]


def ask(method, url, data=None, **headers):
    headers = {header.replace("_", "-"): value for header, value in headers.items()}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as response:
        return response.read()


text = base64.b64encode(b"hello from a queue")
ask("PUT", f"{queues}/{name}", b"")
ask("POST", f"{queues}/{name}/messages", b"<QueueMessage><MessageText>" + text + b"</MessageText></QueueMessage>", Content_Type="application/xml")
assert text in ask("GET", f"{queues}/{name}/messages?numofmessages=1")
ask("DELETE", f"{queues}/{name}")

as_json = {"Content_Type": "application/json", "Accept": "application/json;odata=nometadata"}
ask("POST", f"{tables}/Tables", json.dumps({"TableName": name}).encode(), **as_json)
row = {"PartitionKey": "p", "RowKey": "r", "greeting": "hello from a table"}
ask("POST", f"{tables}/{name}", json.dumps(row).encode(), **as_json)
got = json.loads(ask("GET", f"{tables}/{name}(PartitionKey='p',RowKey='r')", Accept="application/json;odata=nometadata"))
assert got["greeting"] == row["greeting"], got
ask("DELETE", f"{tables}/Tables('{name}')", Accept="application/json;odata=nometadata")
print("ok")
