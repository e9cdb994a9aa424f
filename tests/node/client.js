// Calls one method and prints its answer as JSON; of a stream, the answers up to the first that tells something: of changes,
// the first with an event. The contract is that of the project, or that in a file of compiled descriptors.
//
//     TOKEN=... node client.js 127.0.0.1:50051 books.v1.BookService/GetBook '{"id": 1}' [descriptors.pb]
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [address, called, request, descriptors] = process.argv.slice(2);
const [serviceName, method] = called.split("/");

const options = {
  includeDirs: [path.join(__dirname, "../../packages/book-contracts/proto")],
  longs: String, // an int64 does not fit into a JavaScript number
  enums: String,
};
const definition = descriptors
  ? protoLoader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), options)
  : protoLoader.loadSync("books/v1/book_service.proto", options);
const Service = serviceName.split(".").reduce((scope, name) => scope[name], grpc.loadPackageDefinition(definition));
const client = new Service(address, grpc.credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });

const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${process.env.TOKEN}`);

function fail(error) {
  console.error(grpc.status[error.code], error.details);
  process.exitCode = 1;
}

function listen(call) {
  const answers = [];
  call.on("error", (error) => error.code === grpc.status.CANCELLED || fail(error));
  call.on("data", (answer) => {
    answers.push(answer);
    if (method === "WatchBooks" && !answer.event) return;
    call.cancel();
    console.log(JSON.stringify(answers));
    client.close();
  });
}

if (Service.service[method].requestStream) {
  const call = client[method](metadata);
  listen(call);
  call.write(JSON.parse(request));
} else if (Service.service[method].responseStream) {
  listen(client[method](JSON.parse(request), metadata));
} else {
  client[method](JSON.parse(request), metadata, { deadline: Date.now() + 20_000 }, (error, answer) => {
    if (error) fail(error);
    else console.log(JSON.stringify(answer));
    client.close();
  });
}
