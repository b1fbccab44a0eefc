"""PyPI kaneda, unchanged, reporting over one of its queues: kaneda_client.py zmq|celery|rq URL [QUEUE] [COUNT].

With a count it reports so many counters; without, every method of Metrics once and values that are awkward.
"""

import datetime
import decimal
import sys

from kaneda import Metrics

kind, url = sys.argv[1:3]
queue_name = sys.argv[3] if len(sys.argv) > 3 else ""
count = int(sys.argv[4]) if len(sys.argv) > 4 else 0

if kind == "zmq":
    import zmq
    from kaneda.queues import ZMQQueue

    queue = ZMQQueue(url, timeout=30000)
    # Whoever reports before a worker has connected waits, and then gives the report up.
    assert queue.socket.poll(60000, zmq.POLLOUT), "nobody connects"
elif kind == "celery":
    from kaneda.queues import CeleryQueue

    queue = CeleryQueue(broker=url, queue_name=queue_name)
else:
    from kaneda.queues import RQQueue

    queue = RQQueue(redis_url=url, queue_name=queue_name or "kaneda")

metrics = Metrics(queue=queue)


def end():
    """Waits until what was reported has left: what a library has set aside is lost with the application."""
    if kind == "zmq":
        queue.socket.close()
        queue.socket.context.term()
    elif kind == "celery" and url.startswith("amqp"):
        # Celery ends its connection without a word, and a broker may not look at what has come before. This is answered behind it.
        with queue.app.producer_pool.acquire(block=True) as producer:
            producer.channel.queue_declare(queue_name or "celery", passive=True)
    sys.exit()


if count:
    for number in range(count):
        metrics.custom("many", "counter", number)
    end()

metrics.gauge("users.notifications", 13, tags=["new_message", "follow_request"])
metrics.increment("user.profile.views")
metrics.decrement("hotel.occupation")
metrics.timing("hotel.availability.request_time", 4.25, tags={"zone": "eu"})
metrics.event("user.signup", u'New user r\xe9gistered \u2603 "q"\n')
metrics.custom("hotel.response_data", "xml", {"status": "ok", "n": 1}, id_="2B75D750")


@metrics.timed("request.decorated", use_ms=True)
def perform_request():
    pass


@metrics.timed()
def unnamed():
    pass


perform_request()
unnamed()
with metrics.timed("request.context"):
    pass

metrics.gauge("big", 2**70)
metrics.gauge("nan", float("nan"))
metrics.gauge("inf", float("inf"))
metrics.custom("nested", "custom", {"a": (1, 2), "b": [1, [2, {"c": None}]]})
metrics.gauge("tags.of.numbers", 1, tags=[7, 2.5])
if kind != "zmq":
    # ZeroMQ's class cannot send these: it reports that to its log.
    metrics.custom("at", "custom", {"at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678)})
    metrics.gauge("decimal", decimal.Decimal("1.50"))
end()
