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
# The Debian package is unpacked below target/servers and not installed; a second run downloads nothing. An installed
# influxd is used as it is. NAME tells servers apart that run at the same time; each has its own port and data.
set -eu
. "$(dirname "$0")/server.sh"

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
unpacked=$servers/influxdb-package

have() {
    command -v influxd >/dev/null || [ -x "$unpacked/usr/bin/influxd" ]
}

# Prints the path of influxd.
get() {
    if command -v influxd; then return; fi
    [ -x "$unpacked/usr/bin/influxd" ] || unpack influxdb "$unpacked"
    echo "$unpacked/usr/bin/influxd"
}

# Prints its address once it listens; the database engine is open by then.
listening() {
    sed -n "s|.*Listening on HTTP.*addr=\(127\.0\.0\.1:[0-9]*\).*|http${https:+s}://\1|p" "$home/log"
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
  bind-address = "127.0.0.1:0"
  auth-enabled = $auth
  log-enabled = false
  https-enabled = $([ -n "$https" ] && echo true || echo false)
  https-certificate = "$https"
[monitor]
  store-enabled = false
EOF
    run "$(get)" -config "$home/config"
    await 30 listening || ended
    if $auth; then
        # With authentication on and no user, creating the administrator is the one thing it allows.
        # Itself: whoever has its certificate is not asked here.
        curl -sSfk "$address/query" --data-urlencode "q=CREATE USER admin WITH PASSWORD 'hush-hush' WITH ALL PRIVILEGES" >/dev/null ||
            { end; fail "the administrator cannot be created"; }
    fi
}

obey "$command"
