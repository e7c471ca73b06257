// Whose session express-session finds by a Cookie header.
//
// usage: node express.js CONFIG
// A question is a JSON text in a line, an answer another.
import { createInterface } from "node:readline";
import * as cookie from "cookie";
import { unsign } from "cookie-signature";

const { secret, sessions } = JSON.parse(process.argv[2]);

function find(header) {
  const value = cookie.parse(header)["connect.sid"];
  if (!value?.startsWith("s:")) return null;
  const id = unsign(value.slice(2), secret);
  return id !== false && Object.hasOwn(sessions, id) ? sessions[id] : null;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify({ who: find(JSON.parse(line).header), why: "" }));
}
