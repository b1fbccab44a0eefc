"""The unchanged client, reporting to two queues: reports.py zmq|celery|rq OLD NEW.

OLD and NEW are addresses of ZeroMQ, or each the URL of a broker, `#`, and the name of a queue. With `{}` in it each kind has
a queue of its own. What comes a second time it reports when it is sent a line. It prints the name of each report, and ends when
its input does: what a library of a queue has set aside is lost with it.

No name comes twice, so that a report is found by it.
"""

import collections
import datetime
import decimal
import fractions
import sys
import uuid
import zoneinfo

from kaneda import Metrics
from kaneda.queues import CeleryQueue, RQQueue, ZMQQueue

kind = sys.argv[1]


class Both(object):
    """Reports to several queues."""

    def __init__(self, *queues):
        self.queues = queues

    def report(self, name, *report):
        print(name)
        for queue in self.queues:
            queue.report(name, *report)


class EachKind(object):
    """Reports each kind to a queue of its own."""

    def __init__(self, address):
        self.address, self.queues = address, {}

    def report(self, name, metric, *report):
        if metric not in self.queues:
            self.queues[metric] = open_queue(self.address.format(metric))
        self.queues[metric].report(name, metric, *report)


def open_queue(address):
    if "{}" in address:
        return EachKind(address)
    if kind == "zmq":
        queue = ZMQQueue(address, timeout=60000)
        # Whoever reports before a worker has connected waits, and then gives the report up.
        queue.socket.poll(60000, 2)
        return queue
    url, name = address.split("#")
    if kind == "celery":
        return CeleryQueue(broker=url, queue_name=name)
    return RQQueue(redis_url=url, queue_name=name)


metrics = Metrics(queue=Both(*map(open_queue, sys.argv[2:4])))

metrics.gauge("gauge.list", 13, tags=["new_message", "follow_request"])
metrics.gauge("gauge.object", 13, tags={"zone": "eu", "rack": 7})
metrics.gauge("gauge.bare", -3)
metrics.gauge("gauge.float", 0.1 + 0.2)
metrics.gauge("gauge.whole", 4.0)
metrics.gauge("gauge.exact", 2**53 + 1)
metrics.gauge("gauge.huge", 2**70)
metrics.gauge("gauge.text", "high")
metrics.gauge("gauge.true", True)
metrics.gauge("gauge.none", None)
metrics.gauge("gauge.nan", float("nan"))
metrics.gauge(u"gr\xf6\xdfe.\u2603", 1, tags={u"ciudad": u"M\xe1laga"})
metrics.gauge("gauge.tags.numbers", 1, tags=[7, 2.5])
metrics.gauge("gauge.tags.none", 1, tags=[])
metrics.gauge("gauge.tags.words", 1, tags=["a", True, None])
metrics.gauge("gauge.tags.nested", 1, tags=["a", ["b"]])
metrics.gauge("gauge.tags.many", 1, tags=["t%d" % number for number in range(257)])

metrics.increment("login")
metrics.increment("login.list", tags=["plan:pro", "canary"])
metrics.decrement("rooms")
metrics.decrement("rooms.object", tags={"city": "Palma"})

metrics.timing("timing.float", 4.25, tags={"zone": "eu"})
metrics.timing("timing.whole", 4)


@metrics.timed("timed.seconds")
def seconds():
    pass


@metrics.timed()
def unnamed():
    pass


@metrics.timed("timed.ms", tags=["ms"], use_ms=True)
def milliseconds():
    pass


seconds()
unnamed()
milliseconds()
with metrics.timed("timed.block", tags={"zone": "eu"}):
    pass
with metrics.timed("timed.block.ms", use_ms=True):
    pass

metrics.event("event.words", u'New user r\xe9gistered \u2603 "q" it\'s\n')
metrics.event("event.list", "v42", tags=["a", "b:c"])
metrics.event("event.number", 5)

metrics.custom("xml.object", "xml", {"status": "ok", "n": 1}, id_="2B75D750")
metrics.custom("xml.conflict", "xml", {"status": 404})
metrics.custom("xml.conflict.object", "xml", {"n": {"deep": 1}})
metrics.custom("xml.id.number", "xml", {"n": 2}, id_=7)
metrics.custom("xml.id.again", "xml", {"n": 3}, id_="again")
metrics.custom("xml.id.empty", "xml", {"n": 4}, id_="")
metrics.custom("xml.id.zero", "xml", {"n": 5}, id_=0)
metrics.custom("xml.id.false", "xml", {"n": 6}, id_=False)
metrics.custom("xml.id.list", "xml", {"n": 7}, id_=["a"])
metrics.custom("xml.id.long", "xml", {"n": 8}, id_="x" * 128)
metrics.custom("xml.none", "xml", {"n": None, "m": False})
metrics.custom("xml.empty", "xml", {})
metrics.custom("xml.reserved", "xml", {"name": "taken", "host": "h", "tags": "t", "value": "v"})
metrics.custom("xml.reserved.ids", "xml", {"_id": "i", "id": "j"})
metrics.custom("xml.reserved.time", "xml", {"timestamp": 1, "@timestamp": 2, "metric": "m"})
metrics.custom("xml.key.dollar", "xml", {"$price": 1})
metrics.custom("xml.key.dot", "xml", {"a.b": 2})
metrics.custom("xml.key.empty", "xml", {"": 3})
metrics.custom("xml.key.unicode", "xml", {u"cl\xe9": u"\u2603"})

metrics.custom("search.number", "search", 12.5, tags={"page": "home"})
metrics.custom("search.text", "search", u"h\xf4tel")
metrics.custom("search.list", "search", [1, 2])
metrics.custom("search.list.mixed", "search", ["a", [2.5, {"b": None}]])
metrics.custom("search.nested", "search", {"took": 12.5, "hits": {"total": 3, "best": ["a", "b"]}, "pages": [1, 2]})
metrics.custom("search.huge", "search", {"count": 2**64})
metrics.custom("search.day", "search", {"day": "2026-01-02"})
metrics.custom("search.day.word", "search", {"day": "tomorrow"})

if kind != "zmq":
    # ZMQQueue cannot send these, and says so in the application's log.
    metrics.custom("search.datetime", "search", {"at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678)})
    metrics.custom("search.decimal", "search", {"price": decimal.Decimal("1.50")})
    metrics.custom("search.date", "search", {"on": datetime.date(2026, 1, 2)})
    metrics.custom("search.uuid", "search", {"basket": uuid.UUID(int=7)})
    metrics.custom("xml.id.uuid", "xml", {"n": 7}, id_=uuid.UUID(int=8))
if kind == "rq":
    # What a pickle keeps, and JSON does not.
    metrics.custom("search.tuple", "search", (1, 2))
    metrics.custom("search.bytes", "search", {"words": b"abc", "more": b"\xff\x00"})
    metrics.custom("search.set", "search", {"set": {1}})
    metrics.custom("search.keys", "search", {7: "a", None: "b"})
    metrics.custom("search.delta", "search", {"took": datetime.timedelta(minutes=1, milliseconds=500)})
    metrics.custom("search.zone", "search", {"at": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)})
    metrics.custom("search.counter", "search", collections.Counter(clicks=2))
    metrics.custom("search.zoneinfo", "search", {"at": datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC"))})
    metrics.custom("search.object", "search", {"share": fractions.Fraction(1, 3)})
    metrics.gauge("gauge.decimal", decimal.Decimal("2.50"))
    metrics.gauge("gauge.tags.tuple", 1, tags=("a", "b"))
    metrics.gauge("gauge.tags.set", 1, tags={"only"})
    metrics.timing("timing.delta", datetime.timedelta(seconds=2))
    metrics.event("event.bytes", b"plain")

metrics.gauge("last.gauge", 1)
metrics.increment("last.counter")
metrics.timing("last.timing", 0.5)
metrics.event("last.event", "end")
metrics.custom("last.xml", "xml", {"n": 4})
metrics.custom("last.search", "search", 1.5)

sys.stdin.readline()
metrics.custom("xml.id.repeated", "xml", {"n": 5}, id_="again")
metrics.custom("very.last", "xml", {"n": 6})
sys.stdin.read()
