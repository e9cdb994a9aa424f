// Calls one method of BookService and prints its answer as JSON; of a stream, the answers up to the first with an event.
//
//     TOKEN=... node client.js 127.0.0.1:50051 GetBook '{"id": 1}'
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [address, method, request] = process.argv.slice(2);

const definition = protoLoader.loadSync("books/v1/book_service.proto", {
  includeDirs: [path.join(__dirname, "../../packages/book-contracts/proto")],
  longs: String, // an int64 does not fit into a JavaScript number
  enums: String,
});
const { books } = grpc.loadPackageDefinition(definition);
const client = new books.v1.BookService(address, grpc.credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });

const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${process.env.TOKEN}`);

function fail(error) {
  console.error(grpc.status[error.code], error.details);
  process.exitCode = 1;
}

if (books.v1.BookService.service[method].responseStream) {
  const answers = [];
  const call = client[method](JSON.parse(request), metadata);
  call.on("error", (error) => error.code === grpc.status.CANCELLED || fail(error));
  call.on("data", (answer) => {
    answers.push(answer);
    if (answer.event) {
      call.cancel();
      console.log(JSON.stringify(answers));
      client.close();
    }
  });
} else {
  client[method](JSON.parse(request), metadata, { deadline: Date.now() + 20_000 }, (error, answer) => {
    if (error) fail(error);
    else console.log(JSON.stringify(answer));
    client.close();
  });
}
