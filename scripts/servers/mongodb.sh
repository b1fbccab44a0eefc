#!/bin/sh
# Gets and runs the server that the MongoDB tests and benches write to: mongo-java-server, an independent server of
# MongoDB's wire protocol, in memory, which answers as MongoDB 5.0 does.
#
#   mongodb.sh start [NAME] [--old]     prints mongodb://127.0.0.1:PORT when it answers; with --old it says to be
#                                       MongoDB 4.2, which the daemon does not write to
#   mongodb.sh stop [NAME]              ends it; with it goes what it stored
#   mongodb.sh address [NAME]           prints the address of one that runs
#   mongodb.sh get                      downloads it if need be, and prints the folder of its classes
#   mongodb.sh have                     succeeds if starting it downloads nothing
#
# A mongod cannot be had from the package registries; the tests run against one with KANEDA_TEST_MONGODB=mongodb://...
# NAME tells servers apart that run at the same time; each has its own port and data.
set -eu

version=1.47.0
root=$(cd "$(dirname "$0")/../.." && pwd)
servers=${KANEDA_SERVERS_DIR:-$root/target/servers}
sources=$root/scripts/servers/mongodb
name=mongodb wire=13
command=${1:-help}
[ $# -eq 0 ] || shift
for argument in "$@"; do
    case $argument in
    --old) wire=8 ;;
    *) name=mongodb-$argument ;;
    esac
done
home=$servers/$name
classes=$servers/mongo-java-server-$version

fail() {
    echo "mongodb.sh: $*" >&2
    exit 1
}

have() {
    command -v java >/dev/null && [ -d "$classes" ]
}

# Prints the folder that the class path is made of.
get() {
    command -v java >/dev/null && command -v javac >/dev/null || fail "install a JDK, 17 or newer: apt-get install default-jdk-headless"
    if [ ! -d "$classes" ]; then
        command -v mvn >/dev/null || fail "install Maven, which it is got with: apt-get install maven"
        mkdir -p "$servers"
        # A folder of its own until it is complete: an interrupted run leaves nothing that looks ready.
        fresh=$(mktemp -d "$servers/fetch.XXXXXX")
        sed "s/VERSION/$version/" "$sources/pom.xml" >"$fresh/pom.xml"
        (cd "$fresh" && mvn -q -B -DoutputDirectory=lib dependency:copy-dependencies >&2 &&
            javac -cp 'lib/*' -d . "$sources/Main.java" >&2) ||
            { rm -rf "$fresh"; fail "mongo-java-server cannot be got"; }
        mv "$fresh" "$classes"
    fi
    echo "$classes"
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
    get >/dev/null
    rm -rf "$home"
    mkdir -p "$home"
    # Its port is 0, so that the kernel chooses a free one; it prints which. Little memory and one compiler suffice.
    java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$classes:$classes/lib/*" Main "$wire" \
        >"$home/log" 2>&1 </dev/null &
    echo $! >"$home/pid"
    for _ in $(seq 300); do
        is_running || fail "it ended: see $home/log"
        port=$(sed -n 's/^port //p' "$home/log")
        if [ -n "$port" ]; then
            echo "mongodb://127.0.0.1:$port" >"$home/address"
            cat "$home/address"
            return
        fi
        sleep 0.1
    done
    end
    fail "it does not listen after 30 s: see $home/log"
}

case $command in
start) start ;;
stop) end && rm -rf "$home" ;;
get) get ;;
have) have ;;
address) is_running && cat "$home/address" || fail "it does not run" ;;
*) fail "usage: mongodb.sh start|stop|address|get|have [NAME] [--old]" ;;
esac
