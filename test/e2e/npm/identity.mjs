// Key Vault calls with a token that the Azure SDK gets by itself, as on a machine with a managed identity: identity.mjs BASE NAME [CLIENT_ID]
// Where the SDK asks for it is the environment's affair.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { ManagedIdentityCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

// The SDK wants it of every Node.js; 18, which Debian 12 has, hides it behind a flag.
globalThis.crypto ??= webcrypto;

const [base, name, clientId] = process.argv.slice(2);
const credential = clientId ? new ManagedIdentityCredential({ clientId }) : new ManagedIdentityCredential();
const client = new SecretClient(base, credential, { retryOptions: { maxRetries: 0 } });

await client.setSecret(name, "written as the machine");
assert.equal((await client.getSecret(name)).value, "written as the machine");
console.log("ok");
