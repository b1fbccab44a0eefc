"""The settings of the original worker. What differs from one run to the next is in its environment."""

import collections
import collections.abc
import os

from kaneda.backends import LoggerBackend

# The driver of RethinkDB that Kaneda needs is older than Python 3.10, in which these have moved.
for name in ("Callable", "Iterable", "Mapping"):
    setattr(collections, name, getattr(collections.abc, name))


class Log(LoggerBackend):
    """Kaneda gives this backend no name of its settings, without which no worker can have it: a user's class has to."""

    settings_namespace = "LOGGER"


BACKEND = {
    "elasticsearch": "kaneda.backends.ElasticsearchBackend",
    "influxdb": "kaneda.backends.InfluxBackend",
    "log": Log,
    "mongodb": "kaneda.backends.MongoBackend",
    "rethinkdb": "kaneda.backends.RethinkBackend",
}[os.environ["STORE"]]

url = os.environ.get("STORE_URL", "")
host, _, port = url.rpartition("/")[2].partition(":")
place = os.environ["STORE_PLACE"]
password = os.environ.get("STORE_PASSWORD")
port = int(port.partition("/")[0]) if port else None

# A busy machine is slower than the 0.3 s that a report has by default, and then is lost.
ELASTIC_CONNECTION_URL = url
ELASTIC_INDEX_NAME = place
ELASTIC_APP_NAME = "shop"
ELASTIC_TIMEOUT = 60

INFLUX_HOST = host
INFLUX_PORT = port
INFLUX_USERNAME = os.environ.get("STORE_USER")
INFLUX_PASSWORD = password
INFLUX_DATABASE = place
INFLUX_TIMEOUT = 60

LOGGER_FILENAME = place

MONGO_CONNECTION_URL = url
MONGO_DB_NAME = os.environ.get("STORE_DATABASE")
MONGO_COLLECTION_NAME = place
MONGO_TIMEOUT = 60000

RETHINK_HOST = host
RETHINK_PORT = port
RETHINK_USER = "admin"
RETHINK_PASSWORD = password
RETHINK_DB = place
RETHINK_TIMEOUT = 60
