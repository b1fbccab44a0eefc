"""What the lines of Kaneda's LoggerBackend say, as JSON: log.py FILE. Values are as Python spells them."""

import ast
import json
import sys

lines = []
for line in open(sys.argv[1], encoding="utf-8"):
    if not line.endswith("\n"):
        break  # It is being written.
    time, logger, payload = line.rstrip("\n").split(" - ", 2)
    members = ast.parse(payload, mode="eval").body
    fields = {}
    for key, value in zip(members.keys, members.values):
        key = key.value if isinstance(getattr(key, "value", None), str) else "key %s" % ast.unparse(key)
        assert key not in fields, line
        fields[key] = ast.unparse(value)
    lines.append({"time": time, "logger": logger, "fields": fields})
json.dump(lines, sys.stdout)
