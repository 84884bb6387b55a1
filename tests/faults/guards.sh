#!/bin/bash
# guards.sh - numbers that are not finite: never in a checkpoint, and the run says why it stops.
. "$(dirname "$0")/lib.sh"
# no_bad_number WHAT RUN
no_bad_number() {
    local files
    checks=$((checks + 1))
    files=$(find "$2" -name '*.safetensors')
    [ -z "$files" ] || "$world" finite $files || fail "$1: a checkpoint holds a number that is not finite"
}
"$world" make . || finish
export steps=30
recipe wild dpp
# a rate at which the model is torn apart at once: skipped, stopped or survived, but never saved
for rate in 1000 30; do
    for kind in dpp full; do
        recipe wild $kind
        rm -rf runs
        "$sail" run wild.yaml train.lr=$rate train.max_grad_norm=0 train.schedule=constant guard.skips=3 checkpoint.every=1 eval.every=0 > out.txt 2>&1
        status=$?
        checks=$((checks + 1))
        case $status in
        0) ;;
        1) grep -qE '3 steps in a row went wrong.*last checkpoint is whole' out.txt || { fail "$kind, rate $rate"; tail -n 3 out.txt; } ;;
        *) fail "$kind, rate $rate: exit status $status"; tail -n 3 out.txt ;;
        esac
        echo "$kind, rate $rate: exit status $status, $(grep -c skipped: out.txt) steps skipped"
        no_bad_number "$kind, rate $rate" runs
    done
done
# NaN in the model's file
"$world" make-nan nan
recipe wild dpp
for kind in dpp full; do
    recipe nan_$kind $kind
    expect "NaN in the model, $kind" 1 '4 steps in a row went wrong.*NaN|is not (finite|a number)' "$sail" run nan_$kind.yaml model.path=nan/model guard.skips=4 checkpoint.every=1
    no_bad_number "NaN in the model, $kind" runs
done
finish
