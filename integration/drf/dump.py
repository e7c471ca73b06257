"""Makes the users of a real Django with Django REST framework, and prints what
dumpdata writes of them.

usage: dump.py FOLDER [dumpdata option...]
"""

import sys

import django
from django.conf import settings

FOLDER = sys.argv[1]
settings.configure(
    SECRET_KEY="only-for-tests-only-for-tests-only-for-tests",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "rest_framework.authtoken"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER + "/db.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers." + name for name in (
        "PBKDF2PasswordHasher", "PBKDF2SHA1PasswordHasher", "Argon2PasswordHasher",
        "BCryptSHA256PasswordHasher", "BCryptPasswordHasher", "MD5PasswordHasher")],
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402

call_command("migrate", verbosity=0)
editors = Group.objects.create(name="editors")

for number, algorithm in enumerate(("pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt", "md5")):
    user = User.objects.create(username=algorithm, password=make_password(f"password of {algorithm}", hasher=algorithm),
                               first_name="First", last_name=algorithm, email=algorithm + "@example.com", is_staff=number == 0)
    user.groups.add(editors)
    Token.objects.create(user=user, key=f"{number:040x}")

unusable = User(username="unusable")
unusable.set_unusable_password()
unusable.save()
Token.objects.create(user=unusable, key="a" * 40)
gone = User.objects.create_user("gone", password="password of gone", is_active=False)
Token.objects.create(user=gone, key="b" * 40)
User.objects.create_user("12345", password="password of 12345")
Token.objects.create(user=User.objects.get(username="12345"), key="c" * 40)

call_command("dumpdata", "auth.User", "auth.Group", "authtoken.Token", *sys.argv[2:])
