#!/bin/sh
# Gets and runs the real Elasticsearch and, called by its other name `opensearch.sh`, OpenSearch.
#
#   elasticsearch.sh start [VERSION] [NAME] [--secure] [--quick] [--with PID]
#                                                       prints http://127.0.0.1:PORT when it answers
#   elasticsearch.sh stop [VERSION] [NAME]              ends it and deletes what it stored
#   elasticsearch.sh address [VERSION] [NAME]           prints the address of one that runs
#   elasticsearch.sh folder [VERSION] [NAME]            prints where its certificates are
#   elasticsearch.sh get [VERSION]                      downloads it if need be, and prints its folder
#   elasticsearch.sh have [VERSION]                     succeeds if starting it downloads nothing
#   elasticsearch.sh versions                           prints the versions it knows, the default first
#
# With --with it is stopped when the process PID has ended, however that ends. With --quick its code is compiled in a
# hurry: it starts with half the work and is slower then, which is good for tests and bad for measuring.
#
# With --secure (Elasticsearch only) it speaks HTTPS and asks for a client's certificate: ca.pem, client.pem and
# client.key are in `folder`. Its users are `elastic`, the administrator, `writer`, who has the rights that
# docs/elasticsearch.md asks for on indices `secured-*`, and `reader`, who may only read these, each with the password
# `hush-hush`. The file `token` holds a bearer token, whose owner may create documents in `metrics-*-*`.
#
# It is the build that the project itself runs its tests with, from Maven, without most modules; unpacked below
# target/servers and not installed. Needs mvn, unzip, curl and a JDK: at least 17, and 21 for 9.x and OpenSearch 3.x
# (/usr/lib/jvm is searched, or $JAVA_HOME). It takes 1 GB of memory: run one at a time.
set -eu
. "$(dirname "$0")/server.sh"

product=$(basename "$0" .sh)
case $product in
elasticsearch) versions='8.17.0 9.2.0 7.17.29' prefix=ES ;;
opensearch) versions='3.4.0 2.19.3' prefix=OPENSEARCH ;;
esac
password=hush-hush

command=${1:-help}
[ $# -eq 0 ] || shift
version=${versions%% *} name='' secure=false hurry='' master=''
while [ $# -gt 0 ]; do
    argument=$1
    shift
    case $argument in
    --secure) secure=true ;;
    --quick) hurry=-XX:TieredStopAtLevel=1 ;;
    --with)
        master=$1
        shift
        ;;
    [0-9]*)
        version=
        for known in $versions; do
            case $known in "$argument" | "$argument".*) version=$known ;; esac
        done
        [ -n "$version" ] || fail "no version $argument: there are $versions"
        ;;
    *) name=-$argument ;;
    esac
done
unpacked=$servers/$product-$version-package
home=$servers/$product-$version$name

# Prints the folder of the oldest JDK that is new enough.
jdk() {
    case $product-$version in
    elasticsearch-9.* | opensearch-3.*) least=21 ;;
    *) least=17 ;;
    esac
    for folder in ${JAVA_HOME:-} /usr/lib/jvm/*; do
        major=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$folder/release" 2>/dev/null) || continue
        [ -x "$folder/bin/java" ] && [ "${major:-0}" -ge $least ] && echo "$major $folder"
    done | sort -n | sed -n '1s/^[0-9]* //p'
}

have() {
    [ -x "$unpacked/bin/$product" ] && [ -n "$(jdk)" ]
}

# Prints the folder of the server.
get() {
    if [ ! -x "$unpacked/bin/$product" ]; then
        for tool in mvn unzip curl; do
            command -v $tool >/dev/null || fail "install $tool: it is needed to get $product"
        done
        fresh=$(fresh)
        artifact=org.$product.distribution.integ-test-zip:$product:$version:zip
        mvn -q -B -Dmaven.repo.local="$fresh/maven" dependency:copy -Dartifact="$artifact" \
            -DoutputDirectory="$fresh" >&2 || { rm -rf "$fresh"; fail "mvn cannot download $artifact"; }
        unzip -q "$fresh/$product-$version.zip" -d "$fresh"
        mv "$fresh/$product-$version" "$unpacked"
        rm -rf "$fresh"
    fi
    [ -n "$(jdk)" ] || fail "$product $version needs a newer JDK: put one below /usr/lib/jvm or set JAVA_HOME"
    echo "$unpacked"
}

# An authority, and certificates for the server and a client.
certificates() {
    cd "$home/config"
    # Without a configuration of its own openssl makes no authority of what it is not told to.
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=authority of a test' -keyout ca.key -out ca.pem
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >server.ext
    printf 'extendedKeyUsage=clientAuth\n' >client.ext
    for who in server client; do
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$who" -keyout $who.key -out $who.csr
        openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile $who.ext \
            -out $who.pem
    done
    cd "$OLDPWD"
}

# Users and a token in files: this build cannot keep any in an index.
users() {
    cat >"$home/config/roles.yml" <<EOF
writer:
  cluster: [manage_index_templates, monitor]
  indices: [{names: ['secured-*'], privileges: [index, create_doc, auto_configure]}]
reader:
  cluster: [manage_index_templates, monitor]
  indices: [{names: ['secured-*'], privileges: [read]}]
EOF
    "$unpacked/bin/elasticsearch-keystore" create
    printf %s "$password" | "$unpacked/bin/elasticsearch-keystore" add -x bootstrap.password
    for user in writer reader; do
        "$unpacked/bin/elasticsearch-users" useradd $user -p "$password" -r $user
    done
    "$unpacked/bin/elasticsearch-service-tokens" create elastic/fleet-server kaneda |
        sed -n 's/^SERVICE_TOKEN .* = //p' >"$home/config/token"
}

# The server refuses to be root's: where we are, it is put into a namespace in which we are somebody else.
as_somebody() {
    if [ "$(id -u)" = 0 ]; then
        exec unshare --user --map-user=1000 --map-group=1000 "$@"
    fi
    exec "$@"
}

ask() {
    curl -sSf --cacert "$home/config/ca.pem" --cert "$home/config/client.pem" --key "$home/config/client.key" \
        -u "elastic:$password" "$@"
}

launch() {
    cp -r "$unpacked/config" "$home/config"
    export "${prefix}_JAVA_HOME=$(jdk)" "${prefix}_JAVA_OPTS=-Xms512m -Xmx512m $hurry" "${prefix}_PATH_CONF=$home/config"
    scheme=http
    # Port 0: the kernel chooses a free one, and the server writes it into a file. A disk that is nearly full would
    # make its indices read-only. Bodies of the default 100 MB would make a slow test.
    set -- -E discovery.type=single-node -E http.port=0 -E transport.port=0 -E node.portsfile=true \
        -E path.data="$home/data" -E path.logs="$home/logs" \
        -E cluster.routing.allocation.disk.threshold_enabled=false -E http.max_content_length=16mb
    [ "$product" = opensearch ] || set -- "$@" -E xpack.security.enabled=$secure
    if $secure; then
        scheme=https
        certificates >"$home/openssl.log" 2>&1 || fail "openssl makes no certificates: see $home/openssl.log"
        users >"$home/users.log" 2>&1 || fail "no users: see $home/users.log"
        set -- "$@" -E xpack.security.http.ssl.enabled=true -E xpack.security.http.ssl.key=server.key \
            -E xpack.security.http.ssl.certificate=server.pem -E xpack.security.http.ssl.certificate_authorities=ca.pem \
            -E xpack.security.http.ssl.client_authentication=required
    fi
    run as_somebody "$unpacked/bin/$product" "$@"
    await 120 answering || ended
    # By `exec`, for a redirected function keeps what was open before, and whoever reads our output waits for it.
    [ -z "$master" ] || (exec >/dev/null 2>&1 </dev/null && follow) &
}

# Stops it when the process it was started for is no more.
follow() {
    while kill -0 "$master" 2>/dev/null; do
        is_running || return 0
        sleep 0.5
    done
    end
    rm -rf "$home"
}

# Prints its address once it has written its port, and is well.
answering() {
    port=$(sed -n 's/^127\.0\.0\.1:\([0-9]*\)$/\1/p' "$home/logs/http.ports" 2>/dev/null)
    [ -n "$port" ] || return 1
    health=$scheme://127.0.0.1:$port/_cluster/health?wait_for_status=yellow\&timeout=1s
    if $secure; then ask "$health"; else curl -sSf "$health"; fi >/dev/null 2>&1 && echo "$scheme://127.0.0.1:$port"
}

case $command in
versions) echo "$versions" | tr ' ' '\n' ;;
folder) echo "$home/config" ;;
*) obey "$command" ;;
esac
