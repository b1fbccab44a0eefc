#!/usr/bin/env bash
# Gets what the tests run beside the daemon: unchanged clients, into target/clients, and the servers of all stores: InfluxDB,
# VictoriaMetrics, a server of MongoDB's protocol, Elasticsearch and OpenSearch; and Redis and RabbitMQ. A second run downloads nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
clients=target/clients
mkdir -p "$clients"

packages=()
for pair in nc.openbsd:netcat-openbsd nc.traditional:netcat-traditional sqlite3:sqlite3 npm:npm python3:python3-venv \
    javac:default-jdk-headless mvn:maven curl:curl unzip:unzip; do
    command -v "${pair%%:*}" > /dev/null || packages+=("${pair##*:}")
done
if [ ${#packages[@]} -gt 0 ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
fi

if [ ! -x "$clients/python/bin/python" ]; then
    python3 -m venv "$clients/python"
fi
if ! "$clients/python/bin/python" -c 'import statsd, datadog, aiodogstatsd, rethinkdb' 2> /dev/null; then
    "$clients/python/bin/python" -m pip install --quiet --disable-pip-version-check \
        statsd==4.0.1 datadog==0.52.1 aiodogstatsd==0.16.0.post0 \
        rethinkdb==2.4.10.post1
fi
# Kaneda itself, whose own pins of other packages are years old, in an environment of its own; with drivers of the stores
# that its backends still work with. The newest one for RethinkDB that has what Kaneda calls needs Python 3.11 or older.
if [ ! -x "$clients/kaneda/bin/python" ]; then
    python3 -m venv "$clients/kaneda"
fi
if ! "$clients/kaneda/bin/python" -W ignore -c \
    'import kaneda, zmq, celery, redis, rq, elasticsearch, influxdb, pymongo, rethinkdb; rethinkdb.connect' 2> /dev/null; then
    "$clients/kaneda/bin/python" -m pip install --quiet --disable-pip-version-check \
        pyzmq==27.3.0 celery==5.7.0 redis==8.1.0 rq==3.0.0 six packaging \
        elasticsearch==7.13.4 influxdb==5.3.2 pymongo==3.13.0 rethinkdb==2.3.0.post6
    "$clients/kaneda/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps kaneda==1.0
fi
if [ ! -d "$clients/node_modules/hot-shots" ]; then
    npm install --silent --no-audit --no-fund --prefix "$clients" hot-shots@10
fi

scripts/servers/influxdb.sh get
scripts/servers/victoriametrics.sh get
scripts/servers/mongodb.sh get
scripts/servers/redis.sh get
scripts/servers/rabbitmq.sh get
for product in elasticsearch opensearch; do
    for version in $(scripts/servers/$product.sh versions); do
        scripts/servers/$product.sh get "$version"
    done
done
