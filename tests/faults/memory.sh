#!/bin/bash
# memory.sh - the k-th allocation fails, for k over a whole run: exit status 1 and a message, or the run did without; never a
# crash, and the run goes on afterwards as if nothing had been. While the recipe is read a failure may also be told as a problem of
# the recipe (status 2): nothing has begun then.
# SAIL_FAULT_ALLOCS: how many k (default 60), all of them with 0. SAIL_FAULT_RESUME=1: each is resumed, not every fourth.
. "$(dirname "$0")/lib.sh"
"$world" make . || finish
export steps=2
uninterrupted whole dpp
recipe killed dpp
# the number of allocations of a run: the smallest k that changes nothing, by doubling and halving
survives() { rm -rf runs/killed; SAIL_FAIL_ALLOC=$1 "$sail" run killed.yaml > out.txt 2>&1; }
low=1 high=1024
until survives $high && survives $((high + 7)) && survives $((high + 13)); do low=$high high=$((high * 2)); done
n=${SAIL_FAULT_ALLOCS:-60}
every=$([ "$n" = 0 ] && echo 1 || echo $((high / n)))
echo "fewer than $high allocations, every $every"
tried=0 failed=0
for ((k = 1 + RANDOM % every; k < high; k += every)); do
    rm -rf runs/killed
    SAIL_FAIL_ALLOC=$k timeout 30 "$sail" run killed.yaml > out.txt 2>&1
    status=$?
    tried=$((tried + 1)) checks=$((checks + 1))
    if [ "$status" = 0 ]; then
        same "allocation $k, done without" runs/killed
        continue
    fi
    failed=$((failed + 1))
    if [ "$status" = 2 ] && [ ! -e runs/killed ] && [ -s out.txt ]; then
        continue
    elif [ "$status" != 1 ]; then
        fail "allocation $k: exit status $status"; tail -n 4 out.txt
    elif ! grep -qiE '^sail.*(memory)' out.txt; then
        fail "allocation $k: no message of the missing memory"; tail -n 4 out.txt
    fi
    [ "$failures" -gt 12 ] && finish
    [ $((failed % 4)) = 0 ] || [ -n "${SAIL_FAULT_RESUME:-}" ] || continue
    if [ ! -f runs/killed/run.db ] || ! "$sail" resume runs/killed > again.txt 2>&1; then
        if [ -f runs/killed/run.db ] && ! grep -q 'stopped before it began' again.txt; then
            checks=$((checks + 1)); fail "allocation $k: cannot be resumed"; cat out.txt again.txt
            continue
        fi
        rm -rf runs/killed; "$sail" run killed.yaml > again.txt 2>&1
    fi
    same "allocation $k" runs/killed
done
echo "$tried allocations, $failed of them ended the run"
finish
