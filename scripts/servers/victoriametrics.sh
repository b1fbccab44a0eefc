#!/bin/sh
# Gets and runs the real VictoriaMetrics, which takes what is meant for InfluxDB 2.
#
#   victoriametrics.sh start [NAME]     prints http://127.0.0.1:PORT when it answers
#   victoriametrics.sh stop [NAME]      ends it and deletes what it stored
#   victoriametrics.sh address [NAME]   prints the address of one that runs
#   victoriametrics.sh get              downloads it if need be, and prints the path of victoria-metrics
#   victoriametrics.sh have             succeeds if starting it downloads nothing
#
# The Debian package is unpacked below target/servers and not installed: so no service of its own ever starts,
# no root is needed, and a second run downloads nothing. An installed one is used as it is.
# NAME tells servers apart that run at the same time; each has its own port and data.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
servers=${KANEDA_SERVERS_DIR:-$root/target/servers}
command=${1:-help}
home=$servers/victoriametrics${2:+-$2}
unpacked=$servers/victoriametrics-package

fail() {
    echo "victoriametrics.sh: $*" >&2
    exit 1
}

have() {
    command -v victoria-metrics >/dev/null || [ -x "$unpacked/usr/bin/victoria-metrics" ]
}

# Prints the path of victoria-metrics.
get() {
    if command -v victoria-metrics; then return; fi
    if [ ! -x "$unpacked/usr/bin/victoria-metrics" ]; then
        command -v apt-get >/dev/null || fail "install victoria-metrics: there is no apt-get here to get it with"
        mkdir -p "$servers"
        # A folder of its own until it is complete: an interrupted run leaves nothing that looks ready.
        fresh=$(mktemp -d "$servers/fetch.XXXXXX")
        (cd "$fresh" && apt-get download victoria-metrics >&2) ||
            { rm -rf "$fresh"; fail "apt-get cannot download victoria-metrics: try apt-get update"; }
        dpkg-deb -x "$fresh"/victoria-metrics_*.deb "$fresh/root"
        rm -rf "$unpacked"
        mv "$fresh/root" "$unpacked"
        rm -rf "$fresh"
    fi
    echo "$unpacked/usr/bin/victoria-metrics"
}

is_running() {
    [ -s "$home/pid" ] && kill -0 "$(cat "$home/pid")" 2>/dev/null
}

# Ends it by its pid and waits for that.
end() {
    is_running || return 0
    pid=$(cat "$home/pid")
    kill "$pid"
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid"
}

start() {
    if is_running && [ -s "$home/address" ]; then
        cat "$home/address"
        return
    fi
    binary=$(get)
    rm -rf "$home"
    mkdir -p "$home"
    # It does not say which port it got for 0, so one is asked for that is free now; should it be taken by then, again.
    for _ in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        "$binary" -httpListenAddr="127.0.0.1:$port" -storageDataPath="$home/data" -retentionPeriod=100y \
            -search.latencyOffset=0s -memory.allowedBytes=128MB >"$home/log" 2>&1 </dev/null &
        echo $! >"$home/pid"
        for _ in $(seq 300); do
            is_running || break
            if curl -sf "http://127.0.0.1:$port/health" >/dev/null; then
                echo "http://127.0.0.1:$port" >"$home/address"
                cat "$home/address"
                return
            fi
            sleep 0.1
        done
        is_running && { end; fail "it does not answer after 30 s: see $home/log"; }
    done
    fail "it ended: see $home/log"
}

case $command in
start) start ;;
stop) end && rm -rf "$home" ;;
get) get ;;
have) have ;;
address) is_running && cat "$home/address" || fail "it does not run" ;;
*) fail "usage: victoriametrics.sh start|stop|address|get|have [NAME]" ;;
esac
