// Blob, queue and table calls with azure-storage 2.x, which signs with an account's key: legacy.mjs CONNECTION_STRING NAME
import assert from "node:assert/strict";
import { promisify } from "node:util";
import azure from "azure-storage";

const [connection, name] = process.argv.slice(2);
// The library retries for minutes unless told otherwise.
const once = (service) => service.withFilter({ handle: (options, next) => next(options, (result, after) => after(result)) });
const call = (service, method, ...args) => promisify(service[method]).apply(service, args);

await blobs(once(azure.createBlobService(connection)));
await queues(once(azure.createQueueService(connection)));
await tables(once(azure.createTableService(connection)));
console.log("ok");

async function blobs(service) {
  const text = "hello from azure-storage";
  await call(service, "createContainer", name);
  await call(service, "createBlockBlobFromText", name, "dir/a b.txt", text, { storeBlobContentMD5: true });
  assert.equal(await call(service, "getBlobToText", name, "dir/a b.txt"), text);
  const snapshot = await call(service, "createBlobSnapshot", name, "dir/a b.txt");
  assert.ok(snapshot);
  const lease = await call(service, "acquireLease", name, "dir/a b.txt", { leaseDuration: 15 });
  await call(service, "renewLease", name, "dir/a b.txt", lease.id);
  await call(service, "releaseLease", name, "dir/a b.txt", lease.id);
  const listed = await call(service, "listBlobsSegmented", name, null);
  assert.deepEqual(listed.entries.map((entry) => entry.name), ["dir/a b.txt"]);
  await call(service, "deleteBlob", name, "dir/a b.txt", { deleteSnapshots: "include" });
  await call(service, "deleteContainer", name);
}

async function queues(service) {
  await call(service, "createQueue", name);
  await call(service, "createMessage", name, "hello from azure-storage");
  const message = await call(service, "getMessage", name);
  assert.equal(message.messageText, "hello from azure-storage");
  await call(service, "deleteMessage", name, message.messageId, message.popReceipt);
  await call(service, "deleteQueue", name);
}

async function tables(service) {
  const row = { PartitionKey: azure.TableUtilities.entityGenerator.String("p"), RowKey: azure.TableUtilities.entityGenerator.String("r"), greeting: azure.TableUtilities.entityGenerator.String("hello") };
  await call(service, "createTable", name);
  await call(service, "insertEntity", name, row);
  const found = await call(service, "queryEntities", name, new azure.TableQuery().where("PartitionKey eq ?", "p"), null);
  assert.equal(found.entries[0].greeting._, "hello");
  const batch = new azure.TableBatch();
  batch.insertOrReplaceEntity({ ...row, RowKey: azure.TableUtilities.entityGenerator.String("s") });
  batch.deleteEntity(row);
  // It reaches Azurite, which looks for the account in the path of each part, and fails.
  await assert.rejects(call(service, "executeBatch", name, batch), (error) => error.statusCode === 500);
  await call(service, "deleteEntity", name, row);
  await call(service, "deleteTable", name);
}
