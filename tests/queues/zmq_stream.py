"""PyPI kaneda, unchanged, reporting to whoever connects: zmq_stream.py URL COUNT BYTES PAUSE.

Each report is an event whose text is its number, filled up to so many bytes, and behind each it sleeps for so many seconds. It
fails if a report was given up.
"""

import logging
import sys
import time

import zmq
from kaneda import Metrics
from kaneda.queues import ZMQQueue

url, count, size, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])


class Given(logging.Handler):
    up = 0

    def emit(self, record):
        self.up += 1


given = Given()
logging.getLogger("kaneda.queues.zmq").addHandler(given)
queue = ZMQQueue(url, timeout=60000)
assert queue.socket.poll(60000, zmq.POLLOUT), "nobody connects"
metrics = Metrics(queue=queue)
for number in range(count):
    metrics.event("stream", str(number).ljust(size, "."))
    if pause:
        time.sleep(pause)
# Or what the library has set aside is lost with the application.
queue.socket.close()
queue.socket.context.term()
sys.exit(given.up)
