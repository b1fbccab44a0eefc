"""What RQ's own API says of a queue: rq_books.py URL QUEUE prints it as JSON. With an id of a job: rq_books.py URL QUEUE ID prints
what is in Redis of this job, without what differs from job to job."""

import json
import sys
import warnings

from redis import Redis
from rq import Queue, Worker
from rq.job import Job

warnings.simplefilter("ignore")
url, name = sys.argv[1:3]
connection = Redis.from_url(url)


def ttl(key):
    left = connection.ttl(key)
    return "never" if left == -1 else "soon" if left <= 500 else "a year" if left > 31000000 else left


def entry(job, key):
    kind = connection.type(key).decode()
    name = key.decode().replace(job, "ID")
    if kind == "hash":
        # What our worker says of a job that has failed beside the stream, for RQ before release 1.12.
        held = sorted(field.decode() for field in connection.hkeys(key) if field != b"exc_info")
        held.append(connection.hget(key, "status").decode())
    elif kind == "stream":
        held = [sorted((field.decode(), value.decode() if field == b"type" else "") for field, value in fields.items())
                for _, fields in connection.xrange(key)]
    else:
        held = kind
    return [name, ttl(key) if kind == "hash" or "finished" in name else "", held]


if len(sys.argv) > 3:
    job = sys.argv[3]
    keys = [key for key in connection.keys("*%s*" % job)]
    found = [entry(job, key) for key in keys]
    for key in connection.keys("*"):
        if connection.type(key) == b"zset":
            for member, score in connection.zscan_iter(key):
                if job in member.decode():
                    found.append([key.decode(), round((score - connection.time()[0]) / 100), member.decode().replace(job, "ID")])
        if connection.type(key) == b"list" and job.encode() in connection.lrange(key, 0, -1):
            found.append([key.decode(), "", "in the list"])
    print(json.dumps(sorted(found, key=str)))
    sys.exit()

queue = Queue(name, connection=connection)
registries = {
    "started": queue.started_job_registry,
    "finished": queue.finished_job_registry,
    "failed": queue.failed_job_registry,
}
jobs = {}
for key in connection.keys("rq:job:*"):
    if connection.type(key) == b"hash":
        job = Job.fetch(key.decode()[len("rq:job:"):], connection=connection)
        result = job.latest_result()
        jobs[job.id] = {
            "status": job.get_status().value,
            "result": result.type.name if result else None,
            "reason": job.exc_info,
            "worker": job.worker_name,
        }
print(json.dumps({
    "queued": queue.count,
    "registries": {word: registry.count for word, registry in registries.items()},
    "jobs": jobs,
    "workers": [
        {
            "name": worker.name,
            "state": worker.get_state(),
            "queues": worker.queue_names(),
            "successful": worker.successful_job_count,
            "failed": worker.failed_job_count,
            "executions": len(worker.get_current_executions()),
        }
        for worker in Worker.all(connection=connection)
    ],
}))
