#!/bin/bash
# kill.sh - SIGKILL at random moments, of the run and of its resumptions; what comes out is what an uninterrupted run gives.
# KIND as in lib.sh. SAIL_FAULT_KILLS: how many (default 20 for dpp, 8 otherwise).
. "$(dirname "$0")/lib.sh"
kind=$1
default=20
[ "$kind" = dpp ] || default=8
kills=${SAIL_FAULT_KILLS:-$default}
"$world" make . || finish
uninterrupted whole "$kind"
recipe killed "$kind"
done_kills=0 chains=0
while [ "$done_kills" -lt "$kills" ]; do
    chains=$((chains + 1))
    rm -rf runs/killed
    begun=0 tries=0
    while :; do
        tries=$((tries + 1))
        command=(run --force "$recipe")
        [ -f runs/killed/run.db ] && command=(resume runs/killed)
        "$sail" "${command[@]}" > out.txt 2>&1 &
        pid=$!
        # a chain that has been killed often may end
        [ "$done_kills" -lt "$kills" ] && [ "$tries" -le 6 ] && { pause $((RANDOM % (duration + 20))); kill -9 "$pid" 2>/dev/null; }
        wait "$pid" 2>/dev/null
        status=$?
        [ "$status" = 137 ] && { done_kills=$((done_kills + 1)); continue; }
        [ "$status" = 0 ] && break
        if grep -q 'stopped before it began' out.txt; then rm -rf runs/killed; continue; fi # killed while the run was being made
        checks=$((checks + 1)); fail "chain $chains: exit status $status"; cat out.txt; finish
    done
    same "chain $chains, $tries starts" runs/killed || break
    ls -A runs/killed/align/checkpoints | grep -q '^\.tmp' && fail "leftovers in checkpoints"
done
echo "$kind: $done_kills kills in $chains chains, a run takes $duration ms"
finish
