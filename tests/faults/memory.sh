#!/bin/bash
# memory.sh - the k-th allocation fails, for k over a whole run and over other commands: exit status 1 and a message, or the
# command did without; never a crash, never taken for a mistake of the recipe, and a run goes on afterwards as if nothing had been.
# SAIL_FAULT_ALLOCS: how many k of a run (default 100), all of them with 0. SAIL_FAULT_RESUME=1: each is resumed, not every fourth.
. "$(dirname "$0")/lib.sh"
"$world" make . || finish
export steps=2
uninterrupted whole dpp
recipe killed dpp
# most COMMAND…: an upper bound of its allocations, a power of two, $least at least: from there on nothing changes
most() {
    local high=${least:-64} k
    while :; do
        for ((k = high; k < 2 * high; k += high / 16)); do # many: a command may do without one
            [ "$2" = run ] && rm -rf runs/killed
            SAIL_FAIL_ALLOC=$k "$@" > out.txt 2>&1 || { high=$((high * 2)); continue 2; }
        done
        echo $high
        return
    done
}
# told WHAT STATUS: exit status 1 and a message that memory was lacking
told() {
    if [ "$2" != 1 ]; then
        fail "$1: exit status $2"; tail -n 4 out.txt
    elif ! grep -qiE '^sail.*(memory)' out.txt; then
        fail "$1: no message of the missing memory"; tail -n 4 out.txt
    fi
}

# ---- commands that leave nothing behind ----
cat > hooks.lua <<'R'
local sail = require "sail"
local r = sail.recipe "killed.yaml"
r.train.lr = sail.ramp { from = 1e-4, to = 1e-3, steps = 4 }
r.method.objective = function(b) return -b.preference:logprob(b.scores, b.outcome):mean() end
r.on.step = function(s) s.state.n = (s.state.n or 0) + 1 end
return r
R
sed 's/.*"prompt_ids": \(\[[^]]*\]\).*/{"ids": \1}/' pairs.jsonl | head -3 > ids.jsonl
# libraries WHAT TRIALS COMMAND…: the same over all of the process's allocations, those of the libraries among them
libraries() {
    local what=$1 trials=$2 high every k status ended=0 preload=$build/tests/faults/libfault_malloc.so
    shift 2
    [ -f "$preload" ] || { echo "$what: not with a sanitizer"; return; }
    rm -rf runs/killed
    LD_PRELOAD=$preload FAULT_ALLOC=0 "$@" > /dev/null 2> err.txt || { cat err.txt; fail "$what fails by itself"; return; }
    high=$(tail -n 1 err.txt) every=$(((high + trials - 1) / trials))
    for ((k = 1 + RANDOM % every; k < high; k += every)); do
        checks=$((checks + 1))
        rm -rf runs/killed
        LD_PRELOAD=$preload FAULT_ALLOC=$k timeout 30 "$@" > out.txt 2>&1
        status=$?
        # two messages have no word of memory: the loader's, and that of an error whose own text found none
        [ "$status" = 0 ] || grep -q 'cannot be loaded' out.txt || { ended=$((ended + 1)); told "$what, any allocation $k" "$status"; }
        [ "$failures" -gt 12 ] && finish
    done
    echo "$what: $high allocations with those of the libraries, every $every, $ended ended it"
    [ "$ended" -gt 0 ] || fail "$what: no allocation failed"
}
sweep() { # WHAT TRIALS COMMAND…
    local what=$1 trials=$2 high every k status ended=0
    shift 2
    "$@" > out.txt 2>&1 || { cat out.txt; fail "$what fails by itself"; return; }
    high=$(most "$@") every=$(((high + trials - 1) / trials))
    for ((k = 1 + RANDOM % every; k < high; k += every)); do
        checks=$((checks + 1))
        SAIL_FAIL_ALLOC=$k timeout 30 "$@" > out.txt 2>&1
        status=$?
        [ "$status" = 0 ] || { ended=$((ended + 1)); told "$what, allocation $k" "$status"; }
        [ "$failures" -gt 12 ] && finish
    done
    echo "$what: fewer than $high allocations, every $every, $ended ended it"
    [ "$ended" -gt 0 ] || fail "$what: no allocation failed"
}
small=(--model model --backend ref --input ids.jsonl --output out.jsonl)
sweep check 300 "$sail" check killed.yaml
# Lua collects garbage and tries again: it does without most of what it asks for
least=512 sweep "check, Lua" 120 "$sail" check hooks.lua
sweep "check, overrides" 100 "$sail" check killed.yaml method.judge.kind=rule train.optimizer.beta1=0.8 eval.pairs=3
sweep score 100 "$sail" score "${small[@]}"
sweep generate 100 "$sail" generate "${small[@]}" --max-new 3
sweep data 100 "$sail" data preview pairs.jsonl
libraries run 60 "$sail" run killed.yaml
libraries check 30 "$sail" check hooks.lua
libraries score 30 "$sail" score "${small[@]}"

# ---- a whole run ----
high=$(most "$sail" run killed.yaml)
n=${SAIL_FAULT_ALLOCS:-100}
every=$([ "$n" = 0 ] && echo 1 || echo $((high / n)))
echo "run: fewer than $high allocations, every $every"
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
    told "allocation $k" "$status"
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
