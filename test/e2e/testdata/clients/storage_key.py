"""Blob, queue and table calls with Azure's SDK for Python and an account's key: storage_key.py CONNECTION_STRING NAME"""
import sys

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

connection, name = sys.argv[1:]
once = {"retry_total": 0}

blobs = BlobServiceClient.from_connection_string(connection, max_single_put_size=1 << 20, max_block_size=1 << 20, **once)
container = blobs.create_container(name)
content = bytes(range(256)) * (12 << 10)
blob = container.upload_blob("dir/a b%c.bin", content)
assert blob.download_blob(max_concurrency=2).readall() == content
assert [item.name for item in container.list_blobs()] == ["dir/a b%c.bin"]
lease = blob.acquire_lease(15)
lease.renew()
lease.release()
assert blob.create_snapshot()["snapshot"]
blob.delete_blob(delete_snapshots="include")
container.delete_container()

queues = QueueServiceClient.from_connection_string(connection, **once)
queue = queues.create_queue(name)
queue.send_message("hello from Python")
message = queue.receive_message()
assert message.content == "hello from Python", message
queue.delete_message(message)
queue.delete_queue()

tables = TableServiceClient.from_connection_string(connection, **once)
table = tables.create_table(name)
row = {"PartitionKey": "p", "RowKey": "r", "greeting": "hello from Python"}
table.create_entity(row)
table.update_entity({**row, "more": 1})
assert table.get_entity("p", "r")["greeting"] == row["greeting"]
assert [found["more"] for found in table.query_entities("PartitionKey eq 'p'")] == [1]
table.delete_entity("p", "r")
tables.delete_table(name)
print("ok")
