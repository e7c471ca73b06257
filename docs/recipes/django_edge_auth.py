"""Tells Edge Auth which users of a Django site are still welcome.

Put this file next to your apps, and call it once Django is ready:

    class SiteConfig(AppConfig):
        def ready(self):
            django_edge_auth.connect("redis://127.0.0.1:6379/0")

From then on each change of a user or of their groups is written to the Redis of
Edge Auth as soon as it is committed, where `check_user` finds it. What sends no
signals, such as QuerySet.update() and SQL by hand, is not seen: call sync_all()
after it, and once after connect(), for the users that are there already.
"""

import json
import logging

import redis
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete

logger = logging.getLogger(__name__)
_client = None
_prefix = "edge_auth:"  # the prefix of Edge Auth's store


def connect(url, prefix="edge_auth:"):
    """Begins to tell. url is that of the Redis in Edge Auth's `store redis`."""
    global _client, _prefix
    _client, _prefix = redis.Redis.from_url(url, socket_timeout=1), prefix
    user = get_user_model()
    uid = "edge_auth"
    post_save.connect(_saved, sender=user, dispatch_uid=uid)
    post_delete.connect(_deleted, sender=user, dispatch_uid=uid)
    if hasattr(user, "groups"):
        m2m_changed.connect(_groups_changed, sender=user.groups.through, dispatch_uid=uid)
        post_save.connect(_group_saved, sender=Group, dispatch_uid=uid)
        pre_delete.connect(_group_deleted, sender=Group, dispatch_uid=uid)


def sync_all():
    """Tells of all users, and of those that have been deleted meanwhile."""
    told = {key.decode() for key in _client.smembers(_prefix + "django:users")}
    for user in get_user_model()._default_manager.iterator():
        _write(_key(user), _record(user))
        told.discard(_key(user))
    for key in told:
        _write(key, {"active": False})


def _key(user):
    """What Django's sessions call the user."""
    return user._meta.pk.value_to_string(user)


def _record(user):
    record = {
        "active": user.is_active,
        "name": user.get_full_name() or user.get_username(),
        "email": getattr(user, user.get_email_field_name(), "") or "",
        "auth_hash": user.get_session_auth_hash(),  # ends sessions when the password changes
    }
    if hasattr(user, "groups"):
        record["groups"] = list(user.groups.values_list("name", flat=True))
    return record


def _write(key, record):
    """Writes a record. The change is committed already, so that the site goes on if
    Redis does not answer; the log then says whom to tell of again, by sync_all()."""
    for attempt in range(3):
        try:
            with _client.pipeline() as pipe:
                pipe.set(f"{_prefix}user:{key}", json.dumps(record))
                pipe.sadd(_prefix + "django:users", key)
                pipe.execute()
            return
        except redis.RedisError:
            if attempt == 2:
                logger.critical("Edge Auth has not been told of user %s; sync_all() will", key, exc_info=True)


def _tell(keys):
    """Tells of users after the commit, as they are then."""
    keys = list(keys)

    def after_commit():
        for user in get_user_model()._default_manager.filter(pk__in=keys):
            _write(_key(user), _record(user))

    transaction.on_commit(after_commit)


def _saved(instance, **_):
    _tell([instance.pk])


def _deleted(instance, **_):
    key = _key(instance)
    transaction.on_commit(lambda: _write(key, {"active": False}))


def _groups_changed(instance, action, reverse, pk_set, **_):
    if not reverse:
        _tell([instance.pk])  # user.groups.add(group)
    elif pk_set is not None:
        _tell(pk_set)  # group.user_set.add(user)
    elif action == "pre_clear":
        _tell(instance.user_set.values_list("pk", flat=True))


def _group_saved(instance, **_):
    _tell(instance.user_set.values_list("pk", flat=True))


def _group_deleted(instance, **_):
    _tell(instance.user_set.values_list("pk", flat=True))
