"""A small Django site whose sessions live in Redis, run by the tests.

usage: site.py PORT REDIS_URL FOLDER
It makes the user alice, password "wonderland", in a database of its own, and
tells Edge Auth of its users by the recipe in docs/recipes.
"""

import pathlib
import sys
import time
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
from django.contrib.auth.models import Group  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.db import transaction  # noqa: E402
from django.urls import path  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "docs" / "recipes"))
import django_edge_auth  # noqa: E402


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


def change(request):
    """Changes a user, and answers when that was committed, in seconds since 1970."""
    users = auth.get_user_model().objects
    committed = []
    with transaction.atomic():
        transaction.on_commit(lambda: committed.append(time.time()))
        user, _ = users.get_or_create(username=request.POST["username"])
        action = request.POST["action"]
        if action == "delete":
            user.delete()
        elif action == "disable":
            user.is_active = False
            user.save()
        elif action == "password":
            user.set_password(request.POST["password"])
            user.save()
        elif action == "group":
            user.groups.add(Group.objects.get_or_create(name="staff")[0])
        elif action == "rename group":
            group = Group.objects.get(name="staff")
            group.name = "team"
            group.save()
        elif action == "clear group":
            Group.objects.get(name="team").user_set.clear()
        elif action == "update":  # sends no signals
            users.filter(pk=user.pk).update(is_active=False)
        elif action == "roll back":
            committed.append(time.time())
            user.is_active = False
            user.save()
            transaction.set_rollback(True)
    return HttpResponse(str(committed[0]))


def sync(request):
    django_edge_auth.sync_all()
    return HttpResponse("told")


urlpatterns = [
    path("login/", login), path("logout/", logout), path("whoami/", whoami), path("change/", change), path("sync/", sync),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


call_command("migrate", verbosity=0)
django_edge_auth.connect(REDIS)
if not auth.get_user_model().objects.filter(username="alice").exists():
    auth.get_user_model().objects.create_user("alice", password="wonderland")
make_server("127.0.0.1", int(PORT), get_wsgi_application(), handler_class=Quiet).serve_forever()
