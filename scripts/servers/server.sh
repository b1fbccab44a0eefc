# What the scripts beside it share, which source it: how a server is known, started, waited for and ended.
#
# A script sets `home`, the folder of the server that it is told about, and has the functions `have`, `get`, and
# `launch`, which starts it and returns when its address is in "$home/address". Then it calls `obey COMMAND`.

root=$(cd "$(dirname "$0")/../.." && pwd)
servers=${KANEDA_SERVERS_DIR:-$root/target/servers}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Whether the process $1 runs. One that has ended is there until its parent looks, which in a container may be never.
runs() {
    grep -qs '^State:.[^Z]' "/proc/$1/status"
}

is_running() {
    [ -s "$home/pid" ] && runs "$(cat "$home/pid")"
}

# Ends it by its pid, with the signal $1 if there is one, and waits for that.
end() {
    is_running || return 0
    pid=$(cat "$home/pid")
    kill "-${1:-TERM}" "$pid"
    for _ in $(seq 300); do
        runs "$pid" || return 0
        sleep 0.1
    done
    kill -9 "$pid"
}

start() {
    if ! is_running || [ ! -s "$home/address" ]; then
        get >/dev/null
        rm -rf "$home"
        mkdir -p "$home"
        launch
    fi
    cat "$home/address"
}

# Runs a command in the background, as the server.
run() {
    "$@" >"$home/log" 2>&1 </dev/null &
    echo $! >"$home/pid"
}

# Waits up to $1 seconds until the command behind them prints the server's address. Fails if the server has ended.
await() {
    seconds=$1
    shift
    for _ in $(seq $((seconds * 10))); do
        is_running || return 1
        if address=$("$@") && [ -n "$address" ]; then
            echo "$address" >"$home/address"
            return 0
        fi
        sleep 0.1
    done
    end
    fail "it does not answer after $seconds s: see $home/log"
}

ended() {
    fail "it ended: see $home/log"
}

# A folder of its own for what is got, until it is complete: an interrupted run leaves nothing that looks ready.
fresh() {
    mkdir -p "$servers"
    mktemp -d "$servers/fetch.XXXXXX"
}

# Unpacks the Debian package $1 to the folder $2, without installing it: so no service of its own ever starts, and no
# root is needed.
unpack() {
    command -v apt-get >/dev/null || fail "install $1: there is no apt-get here to get it with"
    fresh=$(fresh)
    (cd "$fresh" && apt-get download "$1" >&2) ||
        { rm -rf "$fresh"; fail "apt-get cannot download $1: try apt-get update"; }
    dpkg-deb -x "$fresh/$1"_*.deb "$fresh/root"
    rm -rf "$2"
    mv "$fresh/root" "$2"
    rm -rf "$fresh"
}

obey() {
    case $1 in
    start) start ;;
    stop) end && rm -rf "$home" ;;
    get) get ;;
    have) have ;;
    address) is_running && cat "$home/address" || fail "it does not run" ;;
    *) fail "no such command: $1; the first lines of $0 say which there are" ;;
    esac
}
