#!/bin/sh
# Gets and runs the real VictoriaMetrics, which takes what is meant for InfluxDB 2.
#
#   victoriametrics.sh start [NAME]     prints http://127.0.0.1:PORT when it answers
#   victoriametrics.sh stop [NAME]      ends it and deletes what it stored
#   victoriametrics.sh address [NAME]   prints the address of one that runs
#   victoriametrics.sh get              downloads it if need be, and prints the path of victoria-metrics
#   victoriametrics.sh have             succeeds if starting it downloads nothing
#
# The Debian package is unpacked below target/servers and not installed; a second run downloads nothing. An installed
# one is used as it is. NAME tells servers apart that run at the same time; each has its own port and data.
set -eu
. "$(dirname "$0")/server.sh"

home=$servers/victoriametrics${2:+-$2}
unpacked=$servers/victoriametrics-package

have() {
    command -v victoria-metrics >/dev/null || [ -x "$unpacked/usr/bin/victoria-metrics" ]
}

# Prints the path of victoria-metrics.
get() {
    if command -v victoria-metrics; then return; fi
    [ -x "$unpacked/usr/bin/victoria-metrics" ] || unpack victoria-metrics "$unpacked"
    echo "$unpacked/usr/bin/victoria-metrics"
}

answering() {
    curl -sf "http://127.0.0.1:$port/health" >/dev/null && echo "http://127.0.0.1:$port"
}

# It does not say which port it got for 0, so one is asked for that is free now; should it be taken by then, again.
launch() {
    for _ in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        run "$(get)" -httpListenAddr="127.0.0.1:$port" -storageDataPath="$home/data" -retentionPeriod=100y \
            -search.latencyOffset=0s -memory.allowedBytes=128MB
        if await 30 answering; then return; fi
    done
    ended
}

obey "${1:-help}"
