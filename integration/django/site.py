"""A small Django site whose sessions live in Redis, run by the tests.

usage: site.py PORT REDIS_URL FOLDER
It makes the user alice, password "wonderland", in a database of its own.
"""

import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

PORT, REDIS, FOLDER = sys.argv[1:4]
# The core has a Redis cache from Django 4.0 on; before, django-redis is what
# people use. Both write the same keys.
CORE = django.VERSION >= (4, 0)

settings.configure(
    SECRET_KEY="only-for-tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER + "/db.sqlite3"}},
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache" if CORE else "django_redis.cache.RedisCache",
            "LOCATION": REDIS,
        }
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
)
django.setup()

from django.contrib import auth  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


def login(request):
    user = auth.authenticate(request, username=request.POST["username"], password=request.POST["password"])
    if user is None:
        return HttpResponse("no", status=403)
    auth.login(request, user)
    return HttpResponse("logged in")


def logout(request):
    auth.logout(request)
    return HttpResponse("logged out")


def whoami(request):
    return HttpResponse(str(request.user.pk))


urlpatterns = [path("login/", login), path("logout/", logout), path("whoami/", whoami)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


call_command("migrate", verbosity=0)
if not auth.get_user_model().objects.filter(username="alice").exists():
    auth.get_user_model().objects.create_user("alice", password="wonderland")
make_server("127.0.0.1", int(PORT), get_wsgi_application(), handler_class=Quiet).serve_forever()
