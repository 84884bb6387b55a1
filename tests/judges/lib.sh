# lib.sh - what tests of judges share: a server of ours that misbehaves. usage: after ../cli/lib.sh, in $WORK, with $server set.
pid=
stop() { [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null; pid=; }
trap 'stop; rm -rf "$WORK"' EXIT
# serve SETTING…: a server, and $url
serve() {
    stop
    rm -f port stats
    "$server" port stats "$@" &
    pid=$!
    for _ in {1..100}; do [ -f port ] && break; sleep 0.05; done
    url=http://127.0.0.1:$(cat port)/v1
}
# seen COUNTER: what the server counted, once it is stopped
seen() { awk -v k="$1" '$1 == k { print $2 }' stats; }
check() { # TEXT TEST… of [
    local text=$1
    shift
    checks=$((checks + 1))
    [ "$@" ] || { echo "FAILED: $text: $*"; failures=$((failures + 1)); }
}
