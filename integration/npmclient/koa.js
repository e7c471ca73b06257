// A Koa site whose sessions live in Redis, run by the tests.
//
// usage: koa.js PORT REDIS_URL SECRET generic|session
// Whoever logs in at /login is user 4711.
import Koa from "koa";
import generic from "koa-generic-session";
import redisStore from "koa-redis";
import session from "koa-session";
import { createClient } from "redis";

const [port, url, secret, kind] = process.argv.slice(2);
const app = new Koa();
app.keys = ["an older secret", secret].reverse();

if (kind === "generic") {
  app.use(generic({ store: redisStore({ url }) }));
} else {
  const client = await createClient({ url }).connect();
  app.use(session({
    store: {
      get: async (key) => JSON.parse(await client.get(key)),
      set: (key, value, maxAge) => client.set(key, JSON.stringify(value), { PX: maxAge }),
      destroy: (key) => client.del(key),
    },
    prefix: "koa:sess:",
  }, app));
}

app.use(async (context) => {
  if (context.method === "POST" && context.path === "/login") context.session.user = { id: 4711 };
  if (context.method === "POST" && context.path === "/logout") context.session = null;
  context.body = "done";
});
app.listen(Number(port), "127.0.0.1");
