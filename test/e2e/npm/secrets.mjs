// Key Vault calls with the Azure SDK and a credential that is none: secrets.mjs BASE NAME CREDENTIAL
// The SDK sends its first request without authorisation and without its body, to be challenged; what it writes has to arrive whole all the same.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { SecretClient } from "@azure/keyvault-secrets";

// The SDK wants it of every Node.js; 18, which Debian 12 has, hides it behind a flag.
globalThis.crypto ??= webcrypto;

const [base, name, token] = process.argv.slice(2);
const credential = { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3600_000 }) };
const client = new SecretClient(base, credential, { retryOptions: { maxRetries: 0 } });

const written = await client.setSecret(name, "written by the SDK");
assert.equal(written.value, "written by the SDK");
assert.equal((await client.getSecret(name)).value, "written by the SDK");
const listed = [];
for await (const item of client.listPropertiesOfSecrets()) listed.push(item.name);
assert.ok(listed.includes(name), `not listed: ${listed}`);
// A client that begins with a write is the one that the challenge is for.
const fresh = new SecretClient(base, credential, { retryOptions: { maxRetries: 0 } });
await fresh.setSecret(name, "written again");
assert.equal((await fresh.getSecret(name)).value, "written again");
console.log("ok");
