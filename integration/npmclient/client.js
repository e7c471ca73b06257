// A stock client of SimpleJWT: axios, with the usual interceptor that refreshes
// on 401 and tries again.
//
// usage: node client.js BASE body|cookie
// It prints what it met as JSON.
import axios from "axios";
import { wrapper } from "axios-cookiejar-support";
import { CookieJar } from "tough-cookie";

const [base, delivery] = process.argv.slice(2);
const jar = new CookieJar();
const plain = wrapper(axios.create({ baseURL: base, jar, withCredentials: true }));
const api = wrapper(axios.create({ baseURL: base, jar, withCredentials: true }));
const storage = new Map(); // localStorage, as many keep them
const met = { refreshes: 0, statuses: {} };

function keep(tokens) {
  for (const name of ["access", "refresh"]) {
    if (tokens[name]) storage.set(name, tokens[name]);
  }
}

api.interceptors.request.use((request) => {
  if (storage.has("access")) request.headers.Authorization = `Bearer ${storage.get("access")}`;
  return request;
});

api.interceptors.response.use(null, async (error) => {
  const request = error.config;
  if (error.response?.status !== 401 || error.response.data.code !== "token_not_valid" && delivery === "body" || request.again) throw error;
  request.again = true;
  const body = storage.has("refresh") ? { refresh: storage.get("refresh") } : {};
  const { data } = await plain.post("/api/token/refresh/", body);
  met.refreshes++;
  keep(data);
  return api(request);
});

async function status(call) {
  const got = await call.then((r) => r.status, (e) => e.response?.status ?? String(e));
  met.statuses[got] = (met.statuses[got] ?? 0) + 1;
  return got;
}

met.wrong = await plain.post("/api/token/", { username: "alice", password: "wrong" }).catch((e) => e.response?.data.detail ?? String(e));
const login = await plain.post("/api/token/", { username: "alice", password: "wonderland" });
keep(login.data);
met.body = Object.keys(login.data).sort();
met.user = (await api.get("/me")).data;
const end = Date.now() + 7000; // of access tokens that live for 3 seconds
while (Date.now() < end) {
  await Promise.all(Array.from({ length: 4 }, () => status(api.get("/me"))));
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await plain.post("/api/token/blacklist/", storage.has("refresh") ? { refresh: storage.get("refresh") } : {});
met.loggedOut = await plain.post("/api/token/refresh/", storage.has("refresh") ? { refresh: storage.get("refresh") } : {})
  .then((r) => r.status, (e) => e.response.status);
met.cookies = (await jar.getCookies(base)).map((c) => c.key);
console.log(JSON.stringify(met));
