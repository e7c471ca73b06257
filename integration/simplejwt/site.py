"""A small Django site with djangorestframework-simplejwt, run by the tests.

usage: site.py PORT FOLDER SETTINGS
SETTINGS is SIMPLE_JWT in JSON; times are in seconds. It makes the user alice,
password "wonderland", in a database of its own.
"""

import json
import sys
from datetime import timedelta
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

PORT, FOLDER = sys.argv[1:3]
SIMPLE_JWT = json.loads(sys.argv[3])
for name, value in SIMPLE_JWT.items():
    if name.endswith("_LIFETIME"):
        SIMPLE_JWT[name] = timedelta(seconds=value)

settings.configure(
    SECRET_KEY="only-for-tests-only-for-tests-only-for-tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "rest_framework_simplejwt"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER + "/db.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SIMPLE_JWT=SIMPLE_JWT,
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt import authentication, views  # noqa: E402


class Me(APIView):
    authentication_classes = [authentication.JWTAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"id": str(request.user.pk), "name": request.user.get_username()})


class MeFromTokenAlone(Me):
    authentication_classes = [authentication.JWTTokenUserAuthentication]


urlpatterns = [
    path("api/token/", views.TokenObtainPairView.as_view()),
    path("api/token/refresh/", views.TokenRefreshView.as_view()),
    path("api/token/sliding/", views.TokenObtainSlidingView.as_view()),
    path("me/", Me.as_view()),
    path("me-from-token/", MeFromTokenAlone.as_view()),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


call_command("migrate", verbosity=0)
get_user_model().objects.create_user("alice", password="wonderland")
make_server("127.0.0.1", int(PORT), get_wsgi_application(), handler_class=Quiet).serve_forever()
