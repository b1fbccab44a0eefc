"""PyPI datadog, as its documentation shows it."""

import sys

from datadog.dogstatsd import DogStatsd

client = DogStatsd("127.0.0.1", int(sys.argv[1]), constant_tags=["env:prod"], disable_telemetry=True,
                   origin_detection_enabled=False)
client.increment("page.views", tags=["page:home"])
client.gauge("queue.size", 17.5)
client.histogram("upload.size", 1234)
client.distribution("answer.time", 0.25)
client.set("users", "alice")
client.event("Deployed: web", "version 42\nby ann", alert_type="success", tags=["by:ann"])
client.service_check("db.up", client.WARNING, message="slow", hostname="db1")
client.flush()
