"""A worker of RQ's own for one queue: rq_worker.py URL QUEUE FILE [BURST]. It appends what its jobs are given to a file.

Its functions are Kaneda's `report`, and `shop.mail`, which is none of Kaneda's; a report named `bad` fails.
"""

import sys
import types

from redis import Redis
from rq import Queue, SimpleWorker

url, queue, path = sys.argv[1:4]
burst = len(sys.argv) > 4


def note(value):
    with open(path, "a") as file:
        file.write("%s\n" % value)


def report(name, metric, value, tags, id_):
    if name == "bad":
        raise ValueError("it is bad")
    note(value)


for module, function in (("kaneda.tasks.rq", report), ("shop", note)):
    sys.modules[module] = types.ModuleType(module)
    setattr(sys.modules[module], "report" if function is report else "mail", function)


class Ready(SimpleWorker):
    def bootstrap(self, *args, **kwargs):
        super().bootstrap(*args, **kwargs)
        open(path, "a").close()


connection = Redis.from_url(url)
Ready([Queue(queue, connection=connection)], connection=connection).work(burst=burst, logging_level="WARNING")
