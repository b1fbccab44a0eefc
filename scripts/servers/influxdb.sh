#!/bin/sh
# Gets and runs the real InfluxDB 1.x that tests and benches write to.
#
#   influxdb.sh start [NAME] [--auth] [--https=FILE]
#                                       prints http://127.0.0.1:PORT when it answers; with --auth its
#                                       administrator is `admin` with the password `hush-hush`; FILE is a
#                                       certificate and its key for 127.0.0.1, and then it is https://
#   influxdb.sh stop [NAME]             ends it and deletes what it stored
#   influxdb.sh address [NAME]          prints the address of one that runs
#   influxdb.sh get                     downloads it if need be, and prints the path of influxd
#   influxdb.sh have                    succeeds if starting it downloads nothing
#
# The Debian package is unpacked below target/servers and not installed: so no service of its own ever starts,
# no root is needed, and a second run downloads nothing. An installed influxd is used as it is.
# NAME tells servers apart that run at the same time; each has its own port and data.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
servers=${KANEDA_SERVERS_DIR:-$root/target/servers}
name=influxdb auth=false https=
command=${1:-help}
[ $# -eq 0 ] || shift
for argument in "$@"; do
    case $argument in
    --auth) auth=true ;;
    --https=*) https=${argument#--https=} ;;
    *) name=influxdb-$argument ;;
    esac
done
home=$servers/$name

fail() {
    echo "influxdb.sh: $*" >&2
    exit 1
}

unpacked=$servers/influxdb-package

have() {
    command -v influxd >/dev/null || [ -x "$unpacked/usr/bin/influxd" ]
}

# Prints the path of influxd.
get() {
    if command -v influxd; then return; fi
    if [ ! -x "$unpacked/usr/bin/influxd" ]; then
        command -v apt-get >/dev/null || fail "install influxd 1.x: there is no apt-get here to get it with"
        mkdir -p "$servers"
        # A folder of its own until it is complete: an interrupted run leaves nothing that looks ready.
        fresh=$(mktemp -d "$servers/fetch.XXXXXX")
        (cd "$fresh" && apt-get download influxdb >&2) ||
            { rm -rf "$fresh"; fail "apt-get cannot download influxdb: try apt-get update"; }
        dpkg-deb -x "$fresh"/influxdb_*.deb "$fresh/root"
        rm -rf "$unpacked"
        mv "$fresh/root" "$unpacked"
        rm -rf "$fresh"
    fi
    echo "$unpacked/usr/bin/influxd"
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

# Starts it with its HTTP port at 0, so that the kernel chooses a free one, and reads that from its log.
launch() {
    cat >"$home/config" <<EOF
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "$home/meta"
[data]
  dir = "$home/data"
  wal-dir = "$home/wal"
[http]
  bind-address = "127.0.0.1:$2"
  auth-enabled = $1
  log-enabled = false
  https-enabled = $([ -n "$https" ] && echo true || echo false)
  https-certificate = "$https"
[monitor]
  store-enabled = false
EOF
    "$influxd" -config "$home/config" >"$home/log" 2>&1 </dev/null &
    echo $! >"$home/pid"
    for _ in $(seq 300); do
        is_running || fail "it ended: see $home/log"
        port=$(sed -n 's/.*Listening on HTTP.*addr=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$home/log")
        if [ -n "$port" ]; then
            address=http${https:+s}://127.0.0.1:$port
            # The database engine is open before it listens.
            return 0
        fi
        sleep 0.1
    done
    end
    fail "it does not listen after 30 s: see $home/log"
}

start() {
    if is_running && [ -s "$home/address" ]; then
        cat "$home/address"
        return
    fi
    influxd=$(get)
    rm -rf "$home"
    mkdir -p "$home"
    launch $auth 0
    if $auth; then
        # With authentication on and no user, creating the administrator is the one thing it allows.
        # Itself: whoever has its certificate is not asked here.
        curl -sSfk "$address/query" --data-urlencode "q=CREATE USER admin WITH PASSWORD 'hush-hush' WITH ALL PRIVILEGES" >/dev/null ||
            { end; fail "the administrator cannot be created"; }
    fi
    echo "$address" >"$home/address"
    echo "$address"
}

case $command in
start) start ;;
stop) end && rm -rf "$home" ;;
get) get ;;
have) have ;;
address) is_running && cat "$home/address" || fail "it does not run" ;;
*) fail "usage: influxdb.sh start|stop|address|get|have [NAME] [--auth]" ;;
esac
