// Blob batches and copies with the Azure SDK and no credential, or an account's key: batch.mjs BASE CONTAINER [KEY]
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { AnonymousCredential, BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";

// The SDK wants it of every Node.js; 18, which Debian 12 has, hides it behind a flag.
globalThis.crypto ??= webcrypto;

const [base, name, key] = process.argv.slice(2);
const credential = key ? new StorageSharedKeyCredential("acct", key) : new AnonymousCredential();
const service = new BlobServiceClient(base, credential, { retryOptions: { maxTries: 1 } });
const container = service.getContainerClient(name);
await container.create();

const blobs = ["a", "dir/b c%d", "e"].map((blob) => container.getBlockBlobClient(blob));
for (const blob of blobs) await blob.upload(blob.name, Buffer.byteLength(blob.name));

// What is copied is named by the URL that the app knows.
const copy = container.getBlockBlobClient("copy");
await copy.syncCopyFromURL(blobs[1].url);
assert.equal((await copy.downloadToBuffer()).toString(), blobs[1].name);
blobs.push(copy);

const batches = service.getBlobBatchClient();
const tiers = await batches.setBlobsAccessTier(blobs.map((blob) => blob.url), credential, "Cool");
done(tiers);
for (const blob of blobs) assert.equal((await blob.getProperties()).accessTier, "Cool");
// In a batch to the container, and one to the account.
done(await container.getBlobBatchClient().deleteBlobs(blobs.slice(0, 2).map((blob) => blob.url), credential));
done(await batches.deleteBlobs(blobs.slice(2).map((blob) => blob.url), credential));
for (const blob of blobs) assert.equal(await blob.exists(), false);
console.log("ok");

function done({ subResponses, subResponsesFailedCount }) {
  assert.equal(subResponsesFailedCount, 0, JSON.stringify(subResponses.map((part) => [part.status, part.bodyAsText])));
}
