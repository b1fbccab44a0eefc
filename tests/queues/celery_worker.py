"""A worker of Celery's own for one queue: celery_worker.py URL QUEUE FILE. It appends the value of each report to a file."""

import sys

from celery import Celery
from celery.signals import worker_ready

url, queue, path = sys.argv[1:4]
app = Celery(broker=url)
app.conf.task_default_queue = queue
app.conf.worker_prefetch_multiplier = 1


@app.task(name="kaneda.tasks.celery.report")
def report(name, metric, value, tags, id_):
    with open(path, "a") as file:
        file.write("%s\n" % value)


@worker_ready.connect
def ready(**_):
    open(path, "a").close()


app.worker_main(["worker", "--pool=solo", "--loglevel=warning", "--without-gossip", "--without-mingle"])
