// Blob, queue and table calls with the library of 2013, which signs with an account's key and speaks Atom to tables: storage2013.mjs CONNECTION_STRING NAME
import assert from "node:assert/strict";
import { promisify } from "node:util";
import azure from "azure-storage-legacy";

const [connection, name] = process.argv.slice(2);
const call = (service, method, ...args) => promisify(service[method]).apply(service, args);

const blobs = azure.createBlobService(connection);
await call(blobs, "createContainer", name);
await call(blobs, "createBlockBlobFromText", name, "dir/a b.txt", "hello from 2013");
assert.equal(await call(blobs, "getBlobToText", name, "dir/a b.txt"), "hello from 2013");
const lease = await call(blobs, "acquireLease", name, "dir/a b.txt");
assert.ok(lease.id);
await call(blobs, "renewLease", name, "dir/a b.txt", lease.id);
await call(blobs, "releaseLease", name, "dir/a b.txt", lease.id);
assert.ok(await call(blobs, "createBlobSnapshot", name, "dir/a b.txt"));
const [listed] = await call(blobs, "listBlobs", name, { include: "metadata" });
assert.equal(listed.name, "dir/a b.txt");
assert.equal(listed.url, undefined); // gone since version 2013-08-15
await call(blobs, "deleteContainer", name);

const queues = azure.createQueueService(connection);
await call(queues, "createQueue", name);
await call(queues, "createMessage", name, "hello from 2013");
const [message] = await call(queues, "getMessages", name);
assert.equal(message.messagetext, "hello from 2013");
await call(queues, "deleteMessage", name, message.messageid, message.popreceipt);
await call(queues, "deleteQueue", name);

const tables = azure.createTableService(connection);
for (const [method, ...args] of [["createTable", name], ["queryTables"], ["insertEntity", name, { PartitionKey: "p", RowKey: "r" }]]) {
  await assert.rejects(call(tables, method, ...args), (error) => {
    assert.equal(error.statusCode, 403);
    assert.match(JSON.stringify(error) + error.message, /BearerdClientTooOld/);
    return true;
  });
}
console.log("ok");
