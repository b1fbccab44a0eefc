"""What the original's Celery application reads at its start."""

import os

broker_url = os.environ["QUEUE_URL"]
task_default_queue = os.environ["QUEUE_PLACE"]
