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
# NAME tells servers apart that run at the same time; each has its own port and data. All of that is in its heap, which
# has at most $KANEDA_MONGODB_HEAP, as Java's -Xmx has it: by default 512m, which is enough for tests; the bench sets it.
set -eu
. "$(dirname "$0")/server.sh"

version=1.47.0
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

have() {
    command -v java >/dev/null && [ -d "$classes" ]
}

# Prints the folder that the class path is made of.
get() {
    command -v java >/dev/null && command -v javac >/dev/null || fail "install a JDK, 17 or newer: apt-get install default-jdk-headless"
    if [ ! -d "$classes" ]; then
        command -v mvn >/dev/null || fail "install Maven, which it is got with: apt-get install maven"
        fresh=$(fresh)
        sed "s/VERSION/$version/" "$sources/pom.xml" >"$fresh/pom.xml"
        (cd "$fresh" && mvn -q -B -DoutputDirectory=lib dependency:copy-dependencies >&2 &&
            javac -cp 'lib/*' -d . "$sources/Main.java" >&2) ||
            { rm -rf "$fresh"; fail "mongo-java-server cannot be got"; }
        mv "$fresh" "$classes"
    fi
    echo "$classes"
}

# Prints its address once it has said its port.
listening() {
    sed -n 's|^port |mongodb://127.0.0.1:|p' "$home/log"
}

# Its port is 0, so that the kernel chooses a free one; it prints which. One compiler suffices.
launch() {
    run java "-Xmx${KANEDA_MONGODB_HEAP:-512m}" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
        -cp "$classes:$classes/lib/*" Main "$wire"
    await 30 listening || ended
}

obey "$command"
