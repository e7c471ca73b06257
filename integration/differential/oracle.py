# Answers questions about credentials as the libraries do that applications use:
# PyJWT, Django, Django REST framework, Werkzeug and itsdangerous.
#
# usage: oracle.py KIND CONFIG
# A question is a JSON text in a line, an answer another: what was found, or null.
# Bytes travel as Latin-1.
import io
import json
import pickle
import pickletools
import sys
import warnings

warnings.simplefilter("ignore")
kind, config = sys.argv[1], json.loads(sys.argv[2])


def jwt_kind():
    import jwt

    public = [jwt.PyJWK.from_dict(key) for key in config["jwks"]["keys"]]
    algorithms = {key["kid"]: key["alg"] for key in config["jwks"]["keys"]}
    strict = {"require": ["exp", "sub", "iss", "aud"]}

    def decode(token, key, algorithm):
        return jwt.decode(token, key, algorithms=[algorithm], audience="api", issuer="https://idp.example.com", options=strict)

    def answer(question):
        token = question["token"].encode("latin-1")
        if question["secret"]:
            return decode(token, config["secret"].encode(), "HS256")["sub"]
        header = jwt.get_unverified_header(token)
        for key in public:
            if header.get("kid") in (None, "", key.key_id) and header["alg"] == algorithms[key.key_id]:
                try:
                    return decode(token, key.key, header["alg"])["sub"]
                except jwt.InvalidSignatureError:
                    pass
        raise LookupError("no key")

    return answer


def set_up_django():
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY=config.get("secret", "x"),
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10**6}}},
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
    )
    django.setup()


def cookies_of(header):
    from django.core.handlers.wsgi import WSGIRequest

    return WSGIRequest({"REQUEST_METHOD": "GET", "HTTP_COOKIE": header, "wsgi.input": io.BytesIO()}).COOKIES


def django_kind():
    """Whose session Django finds by a Cookie header."""
    set_up_django()
    from django.conf import settings
    from django.contrib.sessions.backends.cache import KEY_PREFIX, SessionStore
    from django.core.cache import cache

    for id, user in config["sessions"].items():
        cache.set(KEY_PREFIX + id, {"_auth_user_id": user}, None)

    def answer(question):
        id = cookies_of(question["header"]).get(settings.SESSION_COOKIE_NAME)
        return SessionStore(id).get("_auth_user_id") if id else None

    return answer


def flask_kind():
    """Whose signed session Flask-Session would find by a Cookie header."""
    from itsdangerous import Signer
    from werkzeug.http import parse_cookie

    signer = Signer(config["secret"], salt="flask-session", key_derivation="hmac")

    def answer(question):
        value = parse_cookie({"HTTP_COOKIE": question["header"]}).get("session")
        return config["sessions"].get(signer.unsign(value).decode()) if value else None

    return answer


def unpickle(record):
    """What pickle.loads makes of a record that calls nothing."""
    for opcode, _, _ in pickletools.genops(record):
        if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise pickle.UnpicklingError(opcode.name)
    return pickle.loads(record)


def records_kind():
    """Whose session stands in a record of Redis."""
    set_up_django()
    from django.core import signing

    def answer(question):
        record = question["record"].encode("latin-1")
        if question["signed"]:
            session = signing.loads(record.decode("latin-1"), salt="django.contrib.sessions.SessionStore")
        elif question["form"] == "json":
            session = json.loads(record)
        else:
            session = unpickle(record)
        # What django.contrib.auth.get_user needs to find somebody.
        user, backend, hash = (session[name] for name in ("_auth_user_id", "_auth_user_backend", "_auth_user_hash"))
        return str(user)

    return answer


def drf_kind():
    """What Django REST framework takes out of Authorization."""
    set_up_django()
    from rest_framework.authentication import BasicAuthentication, TokenAuthentication
    from rest_framework.exceptions import AuthenticationFailed

    class Token(TokenAuthentication):
        def authenticate_credentials(self, key):
            if key not in config["tokens"]:
                raise AuthenticationFailed("Invalid token.")
            return config["tokens"][key], None

    class Basic(BasicAuthentication):
        def authenticate_credentials(self, user, password, request=None):
            return f"{user}:{password}", None

    class Request:
        pass

    def answer(question):
        request = Request()
        request.META = {"HTTP_AUTHORIZATION": question["header"]}
        found = (Basic if question["basic"] else Token)().authenticate(request)
        return found and found[0]

    return answer


answer = {"jwt": jwt_kind, "django": django_kind, "flask": flask_kind, "records": records_kind, "drf": drf_kind}[kind]()
for line in sys.stdin:
    try:
        found, why = answer(json.loads(line)), ""
    except Exception as e:  # a library that fails lets nobody in
        found, why = None, f"{type(e).__name__}: {e}"[:100]
    who = None if found is None else found if isinstance(found, str) else json.dumps(found)
    print(json.dumps({"who": who, "why": why}))
