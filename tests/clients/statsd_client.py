"""PyPI statsd, as its documentation shows it."""

import sys

import statsd

client = statsd.StatsClient("127.0.0.1", int(sys.argv[1]), prefix="app")
client.incr("hits")
client.decr("hits", 2)
client.gauge("queue", 17)
client.set("users", "alice")
with client.pipeline() as pipe:
    pipe.timing("page", 312)
    pipe.timing("page", 5)
