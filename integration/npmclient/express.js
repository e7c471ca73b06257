// An Express site whose sessions live in Redis, run by the tests.
//
// usage: express.js PORT REDIS_URL SECRET
// Whoever logs in at /login is who they say. /login?plain keeps the user's id as
// userId, as many do; else Passport keeps it.
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import passport from "passport";
import { Strategy } from "passport-local";
import { createClient } from "redis";

const [port, url, secret] = process.argv.slice(2);
const client = createClient({ url });
await client.connect();

passport.use(new Strategy((username, password, done) => done(null, { id: 4711, username })));
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, { id }));

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(session({ store: new RedisStore({ client }), secret, resave: false, saveUninitialized: false }));
app.use(passport.initialize(), passport.session());

app.post("/login", (request, response, next) => {
  if (!("plain" in request.query)) return next();
  request.session.regenerate(() => {
    request.session.userId = request.body.username;
    response.send("logged in");
  });
}, passport.authenticate("local"), (request, response) => response.send("logged in"));

app.post("/logout", (request, response) => request.session.destroy(() => response.send("logged out")));
app.get("/whoami", (request, response) => response.send(String(request.user?.id ?? request.session.userId)));

app.listen(Number(port), "127.0.0.1");
