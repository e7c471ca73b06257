// An upstream that answers only who comes with an assertion of the gateway.
//
//	node verify.mjs 8000 https://www.example.com/.well-known/jwks.json app
//
// It needs jose: npm install jose
import { createServer } from "node:http";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [port, jwks, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(jwks));

async function verify(request) {
  const assertion = request.headers["x-edge-auth-assertion"] ?? "";
  const { payload } = await jwtVerify(assertion, keys, {
    typ: "edge-auth+jwt", // an access token must not pass for one
    algorithms: ["EdDSA", "ES256", "RS256"], // none by which a public key is a secret
    issuer: "edge_auth",
    audience,
    requiredClaims: ["sub", "exp"],
    clockTolerance: 5,
  });
  if (payload.htm !== request.method || payload.host !== request.headers.host.toLowerCase()) {
    throw new Error("made for another request");
  }
  return payload;
}

createServer(async (request, response) => {
  try {
    response.end((await verify(request)).sub);
  } catch {
    response.writeHead(401).end("not by the gateway");
  }
}).listen(Number(port), "127.0.0.1");
