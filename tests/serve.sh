# serve.sh - what tests with a server of ours share. usage: after cli/lib.sh, in $WORK, with $server set; $fixed: what it is given besides, $base: a path
# of its address.
fixed=() base=
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
pid=
stop() { [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null; pid=; }
trap 'stop; rm -rf "$WORK"' EXIT
# serve SETTING…: a server, and $url
serve() {
    stop
    rm -f port stats
    "$server" port stats "${fixed[@]}" "$@" &
    pid=$!
    for _ in {1..100}; do [ -f port ] && break; sleep 0.05; done
    url=http://127.0.0.1:$(cat port)$base
}
# seen COUNTER: what the server counted, once it is stopped
seen() { awk -v k="$1" '$1 == k { print $2 }' stats; }
check() { # TEXT TEST… of [
    local text=$1
    shift
    checks=$((checks + 1))
    [ "$@" ] || { echo "FAILED: $text: $*"; failures=$((failures + 1)); }
}
