// Blob calls with the Azure SDK and no credential, or an account's key: storage.mjs BASE CONTAINER [MEBIBYTES|KEY]
// With a size it uploads one blob of that many MiB in blocks, and compares it on the way back.
import assert from "node:assert/strict";
import { createHash, webcrypto } from "node:crypto";
import { Readable } from "node:stream";
import { AnonymousCredential, BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";

// The SDK wants it of every Node.js; 18, which Debian 12 has, hides it behind a flag.
globalThis.crypto ??= webcrypto;

const [base, name, more = ""] = process.argv.slice(2);
const size = /^\d+$/.test(more) ? Number(more) : 0;
const credential = more && !size ? new StorageSharedKeyCredential("acct", more) : new AnonymousCredential();
const service = new BlobServiceClient(base, credential, { retryOptions: { maxTries: 1 } });
const container = service.getContainerClient(name);
await container.create();

if (size) {
  await blocks(size);
} else {
  await calls();
}
console.log("ok");

async function calls() {
  const blob = container.getBlockBlobClient("dir/a b%c.txt");
  const content = "hello from the SDK";
  await blob.upload(content, content.length);
  assert.equal((await blob.downloadToBuffer()).toString(), content);
  const listed = [];
  for await (const item of container.listBlobsFlat()) listed.push(item.name);
  assert.deepEqual(listed, ["dir/a b%c.txt"]);
  await blob.delete();
  assert.equal(await blob.exists(), false);
}

async function blocks(mebibytes) {
  const sent = createHash("sha256");
  const received = createHash("sha256");
  function* content() {
    for (let i = 0; i < mebibytes; i++) {
      const block = Buffer.alloc(1 << 20, i);
      sent.update(block);
      yield block;
    }
  }
  const blob = container.getBlockBlobClient("big.bin");
  await blob.uploadStream(Readable.from(content()), 8 << 20, 4);
  const response = await blob.download();
  for await (const chunk of response.readableStreamBody) received.update(chunk);
  assert.equal(received.digest("hex"), sent.digest("hex"));
  await blob.delete();
}
