"""A Flask site whose sessions live in Redis, run by the tests.

usage: site.py PORT REDIS_URL SECRET [signed]
Whoever logs in at /login is who they say.
"""

import datetime
import logging
import sys

import flask
import flask_login
import flask_session
import redis

PORT, REDIS, SECRET = sys.argv[1:4]

app = flask.Flask(__name__)
app.config.update(
    SECRET_KEY=SECRET,
    SESSION_TYPE="redis",
    SESSION_REDIS=redis.Redis.from_url(REDIS),
    SESSION_USE_SIGNER=sys.argv[4:] == ["signed"],
)
flask_session.Session(app)
logins = flask_login.LoginManager(app)


class User(flask_login.UserMixin):
    def __init__(self, name):
        self.id = name


logins.user_loader(User)


@app.post("/login")
def login():
    flask_login.login_user(User(flask.request.form["username"]))
    flask.session["since"] = datetime.datetime(2024, 5, 6)
    flask.session["seen"] = {1, 2}
    return "logged in"


@app.post("/logout")
def logout():
    flask_login.logout_user()
    return "logged out"


@app.get("/whoami")
def whoami():
    return str(flask_login.current_user.get_id())


logging.getLogger("werkzeug").setLevel(logging.ERROR)
app.run("127.0.0.1", int(PORT))
