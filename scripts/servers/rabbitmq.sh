#!/bin/sh
# Gets and runs the real RabbitMQ that tests of queues talk to.
#
#   rabbitmq.sh start [NAME] [--tls=FOLDER]
#                               prints amqp://127.0.0.1:PORT when it answers; with --tls it speaks TLS at PORT + 3, as
#                               server.pem and server.key in FOLDER, with clients that ca.pem has signed
#   rabbitmq.sh restart [NAME]  kills it and starts it again with what it had on disk, at the same port
#   rabbitmq.sh stop [NAME]     ends it and deletes what it stored
#   rabbitmq.sh address [NAME]  prints the address of one that runs
#   rabbitmq.sh get             downloads it if need be, and prints its folder
#   rabbitmq.sh have            succeeds if starting it downloads nothing
#
# The Debian packages of it and of Erlang are unpacked below target/servers and not installed: so no service of its own ever
# starts, no root is needed, and a second run downloads nothing. NAME tells servers apart that run at the same time; each
# has its own ports, data and epmd, the register of Erlang's nodes.
set -eu

. "$(dirname "$0")/server.sh"

command=${1:-help} name=main tls=
[ $# -eq 0 ] || shift
for argument in "$@"; do
    case $argument in
    --tls=*) tls=${argument#--tls=} ;;
    *) name=$argument ;;
    esac
done
home=$servers/rabbitmq-$name
unpacked=$servers/rabbitmq-package
erlang=$unpacked/usr/lib/erlang
# What RabbitMQ loads of Erlang, and the library that Erlang needs beside those of every system.
packages="rabbitmq-server erlang-base erlang-asn1 erlang-crypto erlang-eldap erlang-inets erlang-mnesia erlang-os-mon
    erlang-parsetools erlang-public-key erlang-runtime-tools erlang-ssl erlang-syntax-tools erlang-tools erlang-xmerl
    libssl3"

have() {
    [ -x "$unpacked/rabbitmq" ]
}

get() {
    if ! have; then
        command -v apt-get >/dev/null || fail "there is no apt-get here to get it with"
        fresh=$(fresh)
        # shellcheck disable=SC2086
        (cd "$fresh" && apt-get download $packages >&2) ||
            { rm -rf "$fresh"; fail "apt-get cannot download rabbitmq-server: try apt-get update"; }
        for package in "$fresh"/*.deb; do dpkg-deb -x "$package" "$fresh/root"; done
        # Erlang's own launcher knows one folder only.
        sed -i "s|^ *ROOTDIR=/usr/lib/erlang|ROOTDIR=$erlang|" "$fresh/root/usr/lib/erlang/bin/erl"
        cat >"$fresh/root/rabbitmq" <<'EOF'
#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH=$(dirname "$(find "$here/usr/lib" -name libcrypto.so.3)")
PATH=$here/usr/lib/erlang/bin:$PATH
export LD_LIBRARY_PATH PATH
# As under systemd it takes the place of the shell: its pid is ours.
RUNNING_UNDER_SYSTEMD=true exec "$(echo "$here"/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server)"
EOF
        chmod +x "$fresh/root/rabbitmq"
        rm -rf "$unpacked"
        mv "$fresh/root" "$unpacked"
        rm -rf "$fresh"
    fi
    echo "$unpacked"
}

# Prints the address when it takes clients.
answers() {
    if grep -q 'Server startup complete' "$home/log"; then echo "amqp://127.0.0.1:$port"; fi
}

# Starts it at a port, and epmd and Erlang's own port behind it.
at() {
    port=$1
    "$(echo "$erlang"/erts-*/bin/epmd)" -address 127.0.0.1 -port $((port + 1)) >"$home/epmd.log" 2>&1 </dev/null &
    echo $! >"$home/epmd"
    export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$((port + 1))
    export RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port"
    export RABBITMQ_DIST_PORT=$((port + 2))
    export HOME="$home" RABBITMQ_MNESIA_BASE="$home/data" RABBITMQ_LOG_BASE="$home" RABBITMQ_LOGS=-
    export RABBITMQ_CONF_ENV_FILE="$home/none" RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$home/none"
    export RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" RABBITMQ_GENERATED_CONFIG_DIR="$home"
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    if [ -n "$tls" ]; then
        cat >"$home/rabbitmq.conf" <<EOF
listeners.ssl.1 = 127.0.0.1:$((port + 3))
ssl_options.cacertfile = $tls/ca.pem
ssl_options.certfile = $tls/server.pem
ssl_options.keyfile = $tls/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
EOF
    fi
    run "$unpacked/rabbitmq"
    await 120 answers
}

launch() {
    # It cannot be asked for any free port: one is tried that this pid suggests, then the next.
    first=$((10000 + $$ % 2500 * 4))
    for _ in $(seq 10); do
        if at $first; then return; fi
        end_epmd
        first=$((first + 4))
    done
    ended
}

end_epmd() {
    [ -s "$home/epmd" ] && kill "$(cat "$home/epmd")" 2>/dev/null || true
}

restart() {
    [ -s "$home/address" ] || fail "it does not run"
    pid=$(cat "$home/pid")
    kill -9 "$pid"
    while runs "$pid"; do sleep 0.1; done
    end_epmd
    at "$(sed 's/.*://' "$home/address")" || ended
}

case $command in
restart) restart ;;
stop) end && end_epmd && rm -rf "$home" ;;
*) obey "$command" ;;
esac
