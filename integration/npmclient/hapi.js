// A hapi site whose sessions live in Redis, run by the tests.
//
// usage: hapi.js PORT REDIS_URL SECRET
// Whoever logs in at /login is user 4711.
import { Engine } from "@hapi/catbox-redis";
import Hapi from "@hapi/hapi";
import yar from "@hapi/yar";

const [port, url, password] = process.argv.slice(2);
const server = Hapi.server({
  port: Number(port),
  host: "127.0.0.1",
  cache: [{ name: "redis", provider: { constructor: Engine, options: { url } } }],
});
await server.register({ plugin: yar, options: { maxCookieSize: 0, cache: { cache: "redis" }, cookieOptions: { password, isSecure: false } } });
server.route([
  { method: "POST", path: "/login", handler: (request) => { request.yar.set("user", { id: 4711 }); return "logged in"; } },
  { method: "POST", path: "/logout", handler: (request) => { request.yar.reset(); return "logged out"; } },
  { method: "GET", path: "/whoami", handler: (request) => String(request.yar.get("user")?.id) },
]);
await server.start();
