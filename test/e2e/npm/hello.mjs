// One GET with the HTTP client of Azure's SDKs, which has to give "hello": hello.mjs URL
import { createDefaultHttpClient, createEmptyPipeline, createPipelineRequest, proxyPolicy } from "@azure/core-rest-pipeline";

const pipeline = createEmptyPipeline();
pipeline.addPolicy(proxyPolicy());
const response = await pipeline.sendRequest(createDefaultHttpClient(), createPipelineRequest({ url: process.argv[2] }));
console.log(response.bodyAsText === "hello" ? "ok" : response.bodyAsText);
