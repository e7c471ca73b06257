"""A WSGI application that says who the gateway says is calling, run by the tests."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(environ.get("HTTP_REMOTE_USER") or environ.get("REMOTE_USER") or "nobody").encode()]
