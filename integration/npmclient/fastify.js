// A Fastify site whose sessions live in Redis, run by the tests.
//
// usage: fastify.js PORT REDIS_URL SECRET [PREFIX]
// Whoever logs in at /login is user 4711.
import cookie from "@fastify/cookie";
import formbody from "@fastify/formbody";
import session from "@fastify/session";
import { RedisStore } from "connect-redis";
import fastify from "fastify";
import { createClient } from "redis";

const [port, url, secret, cookiePrefix = ""] = process.argv.slice(2);
const client = await createClient({ url }).connect();
const app = fastify();
await app.register(formbody);
await app.register(cookie);
await app.register(session, { secret, cookiePrefix, store: new RedisStore({ client }), cookie: { secure: false }, saveUninitialized: false });

app.post("/login", async (request) => {
  await request.session.regenerate();
  request.session.user = { id: 4711 };
  return "logged in";
});
app.post("/logout", async (request) => {
  await request.session.destroy();
  return "logged out";
});
app.get("/whoami", async (request) => String(request.session.user?.id));
await app.listen({ port: Number(port), host: "127.0.0.1" });
