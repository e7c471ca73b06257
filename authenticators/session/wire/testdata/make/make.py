"""Prints what Python's pickle and msgpack make of values, a line of JSON each.

usage: python3 make.py > ../python.jsonl (Debian: python3-msgpack)
"""

import base64
import collections
import datetime
import decimal
import json
import pickle
import uuid
import zlib
import gzip

import msgpack


def out(name, value, want):
    print(json.dumps({"name": name, "decoder": "django", "value": base64.b64encode(value).decode(), "want": want}))


numbers = {}
for n in [0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1]:
    numbers[f"p{n}"] = n
    numbers[f"n{n}"] = -n
large = {
    "_auth_user_id": "4711", "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": "0123456789abcdef" * 4,
    "username": "jane.doe", "email": "jane.doe@example.com", "locale": "de_DE", "is_admin": False, "visits": 17,
    "roles": ["admin", "editor", "staff", "billing", "support"],
    "cart": [{"sku": f"sku-{i}", "count": i, "price": 1.5 * i} for i in range(1, 3)],
    "prefs": {"theme": "dark", "size": "large", "beta": True}, "note": "lorem ipsum dolor sit amet, " * 33,
    "flash": {"notice": ["Signed in."], "alert": []}, "last": "https://example.com/orders/1?page=2", "text": "x" * 260,
}
key = uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")
objects = {"user_id": key, "small": uuid.UUID(int=5), "again": key, "at": datetime.datetime(2024, 5, 6), "price": decimal.Decimal("1.5"),
           "ordered": collections.OrderedDict(a=1), "set": {1}, "tuple": (1, "a"), "after": "x"}
wanted = {"user_id": str(key), "small": str(uuid.UUID(int=5)), "again": str(key), "at": {}, "price": {},
          "ordered": {}, "set": [1], "tuple": [1, "a"], "after": "x"}
for protocol in range(6):
    out(f"pickle {protocol}: numbers", pickle.dumps({**numbers, "big": 2**70}, protocol), {**numbers, "big": 2**70})
    out(f"pickle {protocol}: a large one", pickle.dumps(large, protocol), large)
for protocol in range(4, 6):
    out(f"pickle {protocol}: objects", pickle.dumps(objects, protocol), wanted)
out("msgpack: numbers", msgpack.packb({**numbers, "most": 2**64 - 1}), {**numbers, "most": 2**64 - 1})
out("msgpack: a large one", msgpack.packb(large), large)
out("msgpack: floats of four bytes", msgpack.packb({"f": 1.5}, use_single_float=True), {"f": 1.5})
out("msgpack: nothing", msgpack.packb({}), {})
out("msgpack: times", msgpack.packb({"a": datetime.datetime(2024, 5, 6, tzinfo=datetime.timezone.utc), "z": 1}, datetime=True), {"a": {}, "z": 1})
out("msgpack: extension", msgpack.packb({"a": msgpack.ExtType(5, b"12345"), "z": 1}), {"a": {}, "z": 1})
out("msgpack: many", msgpack.packb({str(i): [i] * 20 for i in range(20)}), {str(i): [i] * 20 for i in range(20)})
out("zlib", zlib.compress(pickle.dumps(large)), large)
out("gzip", gzip.compress(json.dumps(large).encode()), large)
