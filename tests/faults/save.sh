#!/bin/bash
# save.sh kill|disk - every call that writes a run, one after another: the process ends there (kill), or the call fails with
# ENOSPC or EIO or is cut short (disk). The last good checkpoint loads, and the resumed run is as if nothing had been.
# SAIL_FAULT_EVERY: every n-th call only (default: as many as fit 40 trials; 1 takes all).
. "$(dirname "$0")/lib.sh"
"$world" make . || finish
export steps=3
uninterrupted whole dpp
recipe killed dpp
part=runs/killed/ # of which files
# count KINDS: the calls of an undisturbed run
count() {
    rm -rf runs/killed
    env LD_PRELOAD="$shim" FAULT_PATH=$part FAULT_CALLS="$1" FAULT_COUNT="$work/count" "$sail" run killed.yaml > out.txt 2>&1 || { cat out.txt; fail "shim"; }
    cat count
}
# trial DO KINDS K
trial() {
    rm -rf runs/killed
    env LD_PRELOAD="$shim" FAULT_PATH=$part FAULT_CALLS="$2" FAULT_DO="$1" FAULT_AT="$3" timeout 30 "$sail" run killed.yaml > out.txt 2>&1
    local status=$? want=1
    checks=$((checks + 1))
    case $1 in kill) want=137 ;; short) want=0 ;; esac
    # SQLite may do without its index of the WAL, and without the last tidying up when it closes
    if [ "$status" = 0 ] && [ "$1" != kill ] && [ "$part" != killed/align ]; then
        :
    elif [ "$status" != "$want" ]; then
        fail "$1 $2 at call $3: exit status $status, not $want"; cat out.txt
    elif [ "$want" = 1 ] && ! grep -qE '^sail run: .*runs/killed.*(No space left|full|Input/output error|I/O error)' out.txt; then
        fail "$1 $2 at call $3: the message does not say what failed where:"; cat out.txt
    fi
    ls -d runs/killed/align/checkpoints/step-* > steps.txt 2>/dev/null
    if [ "$status" != 0 ]; then
        if [ -f runs/killed/run.db ] && "$sail" resume runs/killed > again.txt 2>&1; then
            :
        elif [ ! -s steps.txt ] && { [ ! -f runs/killed/run.db ] || grep -q 'stopped before it began' again.txt; }; then
            "$sail" run --force killed.yaml > again.txt 2>&1 || { rm -rf runs/killed; "$sail" run killed.yaml > again.txt 2>&1; }
        else
            checks=$((checks + 1)); fail "$1 $2 at call $3: cannot be resumed"; cat out.txt again.txt
            return
        fi
    fi
    same "$1 $2 at call $3" runs/killed
}
sweep() { # DO KINDS TRIALS
    local n k every
    n=$(count "$2")
    every=${SAIL_FAULT_EVERY:-$(((n + $3 - 1) / $3))}
    echo "$1: $n calls ($2), every $every"
    for ((k = 1 + RANDOM % every; k <= n; k += every)); do trial "$1" "$2" "$k"; [ "$failures" -gt 3 ] && finish; done
}
case $1 in
kill) sweep kill wfr 40 ;;
disk)
    sweep short w 4
    part=killed/run.db
    sweep nospace w 8
    part=killed/align # our own files: nothing may be passed over
    sweep nospace w 8
    sweep eio w 6
    sweep eio f 8
    sweep eio r 8
    part=killed/run.db
    sweep eio wfr 8
    ;;
esac
finish
