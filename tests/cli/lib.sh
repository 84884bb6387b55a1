# lib.sh - what the command line tests share. usage: source lib.sh; it sets SAIL, WORK and counts failures.
SAIL=$(realpath "$1")
WORK=$(mktemp -d /tmp/sail-cli-XXXXXX)
trap 'rm -rf "$WORK"' EXIT
unset NO_COLOR
export SAIL TERM=xterm
failures=0 checks=0

# expect STATUS command…: runs it, keeps $out and $err; it reads nothing
expect() {
    local want=$1 got
    shift
    [ "$1 ${2-}" != "python3 -" ] || { echo "expect: a program on standard input is for \`python\`"; exit 1; }
    out=$("$@" 2>"$WORK/err" </dev/null)
    got=$?
    err=$(cat "$WORK/err")
    checks=$((checks + 1))
    if [ "$got" != "$want" ]; then
        echo "FAILED: status $got instead of $want: $*"
        printf '%s\n' "$out" "$err" | head -20
        failures=$((failures + 1))
    fi
}

# has TEXT WHERE: WHERE (out or err) holds the text
has() {
    checks=$((checks + 1))
    case ${!2} in
    *"$1"*) ;;
    *)
        echo "FAILED: $2 does not hold: $1"
        printf '%s\n' "${!2}" | head -20
        failures=$((failures + 1))
        ;;
    esac
}

lacks() {
    checks=$((checks + 1))
    case ${!2} in
    *"$1"*)
        echo "FAILED: $2 holds: $1"
        failures=$((failures + 1))
        ;;
    esac
}

# is_json PYTHON: $out parses, and the expression over it (d) holds
is_json() {
    checks=$((checks + 1))
    if ! printf '%s' "$out" | python3 -c "
import json, sys
d = json.load(sys.stdin, parse_constant=lambda s: sys.exit('not JSON: ' + s))
sys.exit(0 if ($1) else 1)"; then
        echo "FAILED: JSON: $1"
        printf '%s\n' "$out" | head -5
        failures=$((failures + 1))
    fi
}

# python ARGUMENT…: the program on standard input succeeds (expect gives its command nothing to read)
python() {
    checks=$((checks + 1))
    timeout 60 python3 - "$@" 2>"$WORK/err" || { echo "FAILED: a program of the test:"; tail -5 "$WORK/err"; failures=$((failures + 1)); }
}

equal() { # WHAT A B
    checks=$((checks + 1))
    [ -n "$2" ] && [ "$2" = "$3" ] || { echo "FAILED: $1: '$2' and '$3'"; failures=$((failures + 1)); }
}
differ() { # WHAT A B
    checks=$((checks + 1))
    [ -n "$2" ] && [ -n "$3" ] && [ "$2" != "$3" ] || { echo "FAILED: $1: both are '$2'"; failures=$((failures + 1)); }
}

finish() {
    echo "$checks checks, $failures failed"
    [ "$failures" = 0 ]
}
