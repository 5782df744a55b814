// Key Vault, Blob and Resource Manager calls by an app that logs in with a client secret: login.mjs TENANT CLIENT SECRET VAULT BLOB CONTAINER SUBSCRIPTION
// Each SDK gets its token by itself, as it would from Entra.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { ResourceManagementClient } from "@azure/arm-resources";
import { ClientSecretCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";
import { BlobServiceClient } from "@azure/storage-blob";

// The SDK wants it of every Node.js; 18, which Debian 12 has, hides it behind a flag.
globalThis.crypto ??= webcrypto;

const [tenant, client, secret, vaultURL, blobURL, name, subscription] = process.argv.slice(2);
const credential = new ClientSecretCredential(tenant, client, secret, { retryOptions: { maxRetries: 0 } });

const vault = new SecretClient(vaultURL, credential, { retryOptions: { maxRetries: 0 } });
await vault.setSecret(name, "written by the app");
assert.equal((await vault.getSecret(name)).value, "written by the app");

const service = new BlobServiceClient(blobURL, credential, { retryOptions: { maxTries: 1 } });
const container = service.getContainerClient(name);
await container.create();
const blob = container.getBlockBlobClient("a.txt");
await blob.upload("hello", 5);
assert.equal((await blob.downloadToBuffer()).toString(), "hello");
await container.delete();

const groups = [];
const resources = new ResourceManagementClient(credential, subscription, { retryOptions: { maxRetries: 0 } });
for await (const group of resources.resourceGroups.list()) groups.push(group.name);
assert.ok(groups.includes("prod"), `not listed: ${groups}`);

// What no route has is refused by bearerd, in Entra's words.
await assert.rejects(credential.getToken("https://graph.microsoft.com/.default"), /AADSTS500011.*BearerdLogin/s);
console.log("ok");
