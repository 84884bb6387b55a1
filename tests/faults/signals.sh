#!/bin/bash
# signals.sh [KIND] - SIGINT and SIGTERM at random moments: exit status 130 and 143, the checkpoint whole, the resumed run as if nothing
# had been. SAIL_FAULT_SIGNALS: how many (default 16).
. "$(dirname "$0")/lib.sh"
"$world" make . || finish
kind=${1:-dpp}
uninterrupted whole "$kind"
recipe killed "$kind"
sent=0 caught=0
while [ "$sent" -lt "${SAIL_FAULT_SIGNALS:-16}" ]; do
    rm -rf runs/killed
    command=(run --force "$recipe") tries=0
    while :; do
        tries=$((tries + 1)) signal=TERM want=143
        [ $((RANDOM % 2)) = 0 ] && signal=INT want=130
        # a job in the background ignores SIGINT: setsid's child does not
        env --default-signal=INT "$sail" "${command[@]}" > out.txt 2>&1 &
        pid=$!
        if [ "$tries" -le 5 ]; then
            until grep -qs '^SigBlk:.*[1-9a-f]' /proc/$pid/status || ! kill -0 "$pid" 2>/dev/null; do :; done # it listens
            pause $((RANDOM % (duration + 10)))
            kill -$signal "$pid" 2>/dev/null && sent=$((sent + 1))
        fi
        wait "$pid"
        status=$?
        [ "$status" = 0 ] && break
        checks=$((checks + 1)) caught=$((caught + 1))
        [ "$status" = "$want" ] || { fail "SIG$signal: exit status $status, not $want"; cat out.txt; break; }
        grep -qE 'sail resume|^done:|nothing to do' out.txt || { fail "SIG$signal: it is not said how to go on"; cat out.txt; }
        command=(resume runs/killed)
    done
    same "signals, $tries starts" runs/killed || break
done
echo "$sent signals, $caught of them met a running program"
[ "$kind" = dpp ] || finish

# a second one ends it at once: the first waits for the end of a long step
steps=400 recipe long full
checks=$((checks + 1))
sed -i 's/batch: 2/batch: 5000/' long.yaml
env --default-signal=INT "$sail" run long.yaml > out.txt 2>&1 &
pid=$!
pause 700
kill -INT "$pid"; pause 100; kill -INT "$pid"
start=$(now_ms)
wait "$pid"; status=$?
[ "$status" = 130 ] && [ $(($(now_ms) - start)) -lt 400 ] || { fail "second SIGINT: status $status after $(($(now_ms) - start)) ms"; cat out.txt; }
finish
