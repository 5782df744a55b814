// One GET by both of Node's clients, and their answers: node get.mjs URL
import https from "node:https";

console.log(await (await fetch(process.argv[2])).text());
https.get(process.argv[2], (response) => response.on("data", (data) => console.log(String(data))));
