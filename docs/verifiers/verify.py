"""An upstream that answers only who comes with an assertion of the gateway.

python3 verify.py 8000 https://www.example.com/.well-known/jwks.json app
It needs PyJWT and cryptography.
"""

import sys
from wsgiref.simple_server import make_server

import jwt

PORT, JWKS, AUDIENCE = sys.argv[1:4]
KEYS = jwt.PyJWKClient(JWKS)  # keeps them for five minutes


def verify(environ):
    assertion = environ.get("HTTP_X_EDGE_AUTH_ASSERTION", "")
    if jwt.get_unverified_header(assertion).get("typ") != "edge-auth+jwt":
        raise jwt.InvalidTokenError("no assertion")  # an access token must not pass for one
    claims = jwt.decode(
        assertion, KEYS.get_signing_key_from_jwt(assertion).key,
        algorithms=["EdDSA", "ES256", "RS256"],  # none by which a public key is a secret
        issuer="edge_auth", audience=AUDIENCE, leeway=5,
        options={"require": ["sub", "exp", "htm", "host"]},
    )
    if claims["htm"] != environ["REQUEST_METHOD"] or claims["host"] != environ["HTTP_HOST"].lower():
        raise jwt.InvalidTokenError("made for another request")
    return claims


def app(environ, start_response):
    try:
        claims = verify(environ)
    except jwt.PyJWTError:
        start_response("401 Unauthorized", [("Content-Type", "text/plain")])
        return [b"not by the gateway"]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [claims["sub"].encode()]


make_server("127.0.0.1", int(PORT), app).serve_forever()
