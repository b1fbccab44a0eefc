"""Publishes what ends a careless reader of AMQP: amqp_hostile.py HOST:PORT QUEUE."""

import sys

import amqp

sys.setrecursionlimit(1000000)
address, queue = sys.argv[1:3]
task = {"task": "kaneda.tasks.celery.report", "id": "x"}
body = '[["%s","gauge",1,null,null],{},{}]'

nested = None
for _ in range(5000):
    nested = [nested]

with amqp.Connection(address, confirm_publish=True) as connection:
    channel = connection.channel()
    for id, more, text in [
        ("nested", {"x": nested}, body % "nested"),
        ("huge", {}, body % ("x" * 3000000)),
        ("good", {}, body % "good"),
    ]:
        headers = dict(task, id=id, **more)
        message = amqp.Message(
            text, content_type="application/json", correlation_id=id, delivery_mode=2, application_headers=headers
        )
        channel.basic_publish(message, routing_key=queue)
