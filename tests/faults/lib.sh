# lib.sh - shared by the fault tests. SAIL_BUILD: the build directory. Each test works in a directory of its own.
set -u
build=${SAIL_BUILD:?the build directory}
sail=$build/sail
world=$build/tests/faults/fault_world
shim=$build/tests/faults/libfault_shim.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export NO_COLOR=1
seed=${SAIL_FAULT_SEED:-$(( $(date +%s%N) / 1000 % 32768 ))}
RANDOM=$seed
echo "seed $seed (SAIL_FAULT_SEED=$seed runs it again)"
failures=0 checks=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
finish() { echo "$((checks - failures)) of $checks checks passed"; [ "$failures" = 0 ] && [ "$checks" -gt 0 ]; exit; }

# recipe NAME KIND: the file $recipe. dpp (LoRA, policy writes), full (all weights, the reference cached), lua (dpp with schedules,
# objective and hooks in Lua; what a hook remembers decides what is learned)
recipe() {
    local adapter='adapter: {kind: lora, rank: 2, alpha: 4, targets: all-linear, dropout: 0.1}' routes='dpp: {weight: 0.3, coef: 0.2}, ddp: {weight: 0.3, coef: 0.2}'
    local generate=4
    [ "$2" = full ] && adapter='adapter: null' routes='ddp: {weight: 0, coef: 0.2}' generate=0
    recipe=$1.yaml
    if [ "$2" = lua ]; then
        recipe=$1.lua
        cat > "$1.lua" <<R
local sail = require "sail"
local r = sail.recipe "$1.yaml"
r.train.lr = function(step) return 1e-3 / (1 + step / 4) end
r.method.routes.dpp.weight = sail.ramp { from = 0.2, to = 0.6, steps = 6 }
r.method.objective = function(b)
  local F = b.preference:logprob(b.scores, b.outcome)
  local A = (F - b.baseline(F)):detach()
  return -(F + b.coef_written * A * (b.chosen.logp + b.rejected.logp) + b.coef_labelled * 0.5 * F * F):mean()
end
r.on.rollout = function(s) s.state["written-by-policy"] = (s.state["written-by-policy"] or 0) + 1 end
r.on.checkpoint = function(s) s.state.saved = s.step end
r.on.step = function(s)
  local x = s.state
  x.kl, x.worst = s.metrics["objective/kl"], math.max(x.worst or -1 / 0, s.metrics.loss)
  if x.before and s.metrics.loss > x.before or x.saved then s:backoff(0.8) end
  x.before, x.rates = s.metrics.loss, x.rates or {}
  x.rates[#x.rates + 1] = 1 / (1 + (x["written-by-policy"] or 0))
  if x.rates[#x.rates] < 0.1 then s:backoff(0.9) end
end
return r
R
    fi
    cat > "$1.yaml" <<R
name: $1
runs: $work/runs
seed: 3
model: {path: $work/model, backend: ref, dtype: f32, threads: 1, $adapter}
data: {train: $work/pairs.jsonl, held_out: 0.15, max_response: 8}
rollout: {temperature: 0.9}
method: {objective: sail, beta: 0.1, routes: {$routes}}
train: {steps: ${steps:-9}, batch: 2, lr: 1e-3, schedule: {kind: linear, warmup: 2}, max_grad_norm: 1}
eval: {before: true, every: 4, pairs: 6, generate: $generate}
checkpoint: {every: 3}
R
}

# digest RUN: everything that must be the same, however often the run was interrupted
digest() {
    local last
    last=$(ls -d "$1"/align/checkpoints/step-* | tail -1)
    basename "$last"
    "$world" hash "$1" || echo "no hash of the store"
    (cd "$last" && sha256sum trained.safetensors $(ls reference_*.f32 2>/dev/null))
    (cd "$1/align/output" && find . -type f | sort | xargs sha256sum)
}

# same WHAT RUN: the run equals the uninterrupted one, whose digest is in $good
same() {
    checks=$((checks + 1))
    local now
    now=$(digest "$2" 2>&1)
    [ "$now" = "$good" ] && return 0
    fail "$1: the resumed run differs from the uninterrupted one"
    diff <(echo "$good") <(echo "$now")
    return 1
}

# expect WHAT STATUS PATTERN COMMAND…: exit status (a pattern, [12] is either), and a message that matches (extended regular expression)
expect() {
    local what=$1 status=$2 pattern=$3 got
    shift 3
    checks=$((checks + 1))
    "$@" > out.txt 2> err.txt < /dev/null
    got=$?
    if [[ $got != $status ]]; then
        fail "$what: exit status $got, not $status"; cat err.txt; tail -n 3 out.txt
    elif ! cat out.txt err.txt | grep -qE -- "$pattern"; then
        fail "$what: no message like /$pattern/:"; cat err.txt; tail -n 3 out.txt
    fi
}

pause() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; } # milliseconds
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# forge an uninterrupted run of a recipe: sets good and duration (ms)
uninterrupted() {
    recipe "$1" "$2"
    local start
    start=$(now_ms)
    "$sail" run "$recipe" > out.txt 2>&1 || { cat out.txt; fail "$1 does not run"; finish; }
    duration=$(($(now_ms) - start))
    good=$(digest "$work/runs/$1")
}
