#!/bin/sh
# Gets and runs the real Redis that tests of queues talk to.
#
#   redis.sh start [NAME] [--durable] [--tls=FOLDER]
#                                       prints redis://127.0.0.1:PORT when it answers; with --durable every write is on
#                                       disk before it is answered; with --tls it speaks TLS at PORT - 10000, as
#                                       server.pem and server.key in FOLDER, with clients that ca.pem has signed
#   redis.sh restart [NAME]             kills it and starts it again with what it had on disk, at the same port
#   redis.sh kill [NAME]                kills it and leaves it so, to be started again by restart
#   redis.sh stop [NAME]                ends it and deletes what it stored
#   redis.sh address [NAME]             prints the address of one that runs
#   redis.sh get                        downloads it if need be, and prints the path of redis-server
#   redis.sh have                       succeeds if starting it downloads nothing
#
# The Debian packages are unpacked below target/servers and not installed: so no service of its own ever starts,
# no root is needed, and a second run downloads nothing. An installed redis-server is used as it is.
# NAME tells servers apart that run at the same time; each has its own port and data.
set -eu

. "$(dirname "$0")/server.sh"

name=redis durable=no tls=
command=${1:-help}
[ $# -eq 0 ] || shift
for argument in "$@"; do
    case $argument in
    --durable) durable=yes ;;
    --tls=*) tls=${argument#--tls=} ;;
    *) name=redis-$argument ;;
    esac
done
home=$servers/$name

unpacked=$servers/redis-package
# The server and what it needs beside the C library.
packages="redis-server redis-tools libjemalloc2 liblzf1 libatomic1 libssl3 libsystemd0"

have() {
    command -v redis-server >/dev/null || [ -x "$unpacked/redis-server" ]
}

# Prints the path of redis-server.
get() {
    if command -v redis-server; then return; fi
    if [ ! -x "$unpacked/redis-server" ]; then
        command -v apt-get >/dev/null || fail "install redis-server: there is no apt-get here to get it with"
        mkdir -p "$servers"
        # A folder of its own until it is complete: an interrupted run leaves nothing that looks ready.
        fresh=$(mktemp -d "$servers/fetch.XXXXXX")
        # shellcheck disable=SC2086
        (cd "$fresh" && apt-get download $packages >&2) ||
            { rm -rf "$fresh"; fail "apt-get cannot download redis-server: try apt-get update"; }
        for package in "$fresh"/*.deb; do dpkg-deb -x "$package" "$fresh/root"; done
        # Its libraries are found wherever the folder is.
        cat >"$fresh/root/redis-server" <<'EOF'
#!/bin/sh
here=$(dirname "$0")
libraries=$(find "$here/usr/lib" "$here/lib" -name '*.so.*' -exec dirname {} + 2>/dev/null | sort -u | tr '\n' :)
LD_LIBRARY_PATH=$libraries exec "$here/usr/bin/redis-server" "$@"
EOF
        chmod +x "$fresh/root/redis-server"
        rm -rf "$unpacked"
        mv "$fresh/root" "$unpacked"
        rm -rf "$fresh"
    fi
    echo "$unpacked/redis-server"
}

# Starts it at a port and waits until it takes commands.
launch() {
    # The log of this start only.
    : >"$home/log"
    set -- "$1" ${tls:+--tls-port $(($1 - 10000)) --tls-cert-file "$tls/server.pem" --tls-key-file "$tls/server.key" \
        --tls-ca-cert-file "$tls/ca.pem"}
    port=$1
    shift
    "$server" --bind 127.0.0.1 --port "$port" --dir "$home" --save '' --daemonize no --appendonly "$durable" \
        --appendfsync always --logfile "$home/log" "$@" >/dev/null 2>&1 </dev/null &
    echo $! >"$home/pid"
    for _ in $(seq 300); do
        is_running || return 1
        if grep -q 'Ready to accept connections' "$home/log"; then return 0; fi
        sleep 0.1
    done
    end TERM
    fail "it does not answer after 30 s: see $home/log"
}

start() {
    if is_running && [ -s "$home/address" ]; then
        cat "$home/address"
        return
    fi
    server=$(get)
    rm -rf "$home"
    mkdir -p "$home"
    echo $durable >"$home/durable"
    echo "$tls" >"$home/tls"
    # Redis cannot be asked for any free port: one is tried that its own pid suggests, then the next.
    port=$((20000 + $$ % 10000))
    for _ in $(seq 20); do
        if launch $port; then
            echo "redis://127.0.0.1:$port" >"$home/address"
            cat "$home/address"
            return
        fi
        port=$((port + 1))
    done
    fail "it ended: see $home/log"
}

restart() {
    [ -s "$home/address" ] || fail "it does not run"
    server=$(get)
    durable=$(cat "$home/durable")
    tls=$(cat "$home/tls")
    end KILL
    launch "$(sed 's/.*://' "$home/address")" || fail "it ended: see $home/log"
}

case $command in
start) start ;;
restart) restart ;;
kill) end KILL ;;
stop) end TERM && rm -rf "$home" ;;
get) get ;;
have) have ;;
address) is_running && cat "$home/address" || fail "it does not run" ;;
*) fail "usage: redis.sh start|restart|kill|stop|address|get|have [NAME] [--durable] [--tls=FOLDER]" ;;
esac
