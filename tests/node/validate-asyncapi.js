// Reads AsyncAPI documents, as a JSON array of texts, from standard input and prints, as JSON, what the official parser
// has to say about each and what it has understood: the operations with their addresses, and the fields of the bodies.
"use strict";

const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");
const { ProtoBuffSchemaParser } = require("@asyncapi/protobuf-schema-parser");

const SEVERITIES = ["error", "warning", "information", "hint"];

async function main() {
  const parser = new Parser();
  parser.registerSchemaParser(ProtoBuffSchemaParser());
  const readings = [];
  for (const text of JSON.parse(readFileSync(0, "utf8"))) readings.push(await read(parser, text));
  console.log(JSON.stringify(readings));
}

async function read(parser, text) {
  const { document, diagnostics } = await parser.parse(text);
  const said = diagnostics.map(({ severity, path, message }) => `${SEVERITIES[severity]} ${path.join(".")}: ${message}`);
  const operations = document ? document.operations().all().map(understood) : [];
  return { said, operations };
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
