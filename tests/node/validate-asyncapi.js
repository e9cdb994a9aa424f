// Reads an AsyncAPI document from standard input and prints, as JSON, what its official parser has to say about it and
// what it has understood: the operations with their addresses, and the fields of the bodies.
"use strict";

const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");
const { ProtoBuffSchemaParser } = require("@asyncapi/protobuf-schema-parser");

const SEVERITIES = ["error", "warning", "information", "hint"];

async function main() {
  const parser = new Parser();
  parser.registerSchemaParser(ProtoBuffSchemaParser());
  const { document, diagnostics } = await parser.parse(readFileSync(0, "utf8"));
  const said = diagnostics.map(({ severity, path, message }) => `${SEVERITIES[severity]} ${path.join(".")}: ${message}`);
  const operations = document ? document.operations().all().map(understood) : [];
  console.log(JSON.stringify({ said, operations }));
}

function understood(operation) {
  const [channel] = operation.channels().all();
  const [message] = operation.messages().all();
  return {
    id: operation.id(),
    action: operation.action(),
    address: channel.address(),
    exchange: channel.bindings().get("amqp").value().exchange.name,
    message: message.name(),
    fields: Object.keys(message.payload().properties()),
  };
}

main();
