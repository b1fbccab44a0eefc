"""Sends tasks and waits for what becomes of them: celery_result.py BROKER BACKEND QUEUE. It prints a line for each."""

import datetime
import sys

from celery import Celery
from celery.exceptions import TaskRevokedError

broker, backend, queue = sys.argv[1:4]
app = Celery(broker=broker, backend=backend)


def send(value, **options):
    arguments = ("result", "gauge", value, None, None)
    return app.send_task("kaneda.tasks.celery.report", args=arguments, queue=queue, **options)


ignored = send(0, ignore_result=True)
done = send(1)
print(done.get(timeout=60), done.state)
try:
    send(float("nan")).get(timeout=60)
except ValueError as error:
    print(error)
try:
    send(2, expires=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)).get(timeout=60)
except TaskRevokedError as error:
    print(error)
now = datetime.datetime.now(datetime.timezone.utc)
later = datetime.timedelta(hours=1)
try:
    send(3, expires=now + later, eta=now + 2 * later).get(timeout=60)
except TaskRevokedError as error:
    print(error)
# It was sent before the others.
print(app.backend.client.exists("celery-task-meta-" + ignored.id), app.backend.client.ttl("celery-task-meta-" + done.id) > 86000)
