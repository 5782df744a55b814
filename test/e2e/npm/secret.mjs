// Prints a secret with the HTTP client of Azure's SDKs, which reads proxy variables in every Node.js: secret.mjs URL
import { createDefaultHttpClient, createEmptyPipeline, createPipelineRequest, proxyPolicy } from "@azure/core-rest-pipeline";

const pipeline = createEmptyPipeline();
pipeline.addPolicy(proxyPolicy());
const response = await pipeline.sendRequest(createDefaultHttpClient(), createPipelineRequest({ url: process.argv[2] }));
console.log(JSON.parse(response.bodyAsText).value);
