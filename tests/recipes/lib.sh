# lib.sh - what tests of whole runs share: running, hashing, comparing. usage: after ../cli/lib.sh, with $world and $recipe set.
run() { # NAME SETTING…
    local name=$1
    shift
    expect 0 "$SAIL" run --force "$recipe" name="$name" "$@"
}
hash() { "$world" hash "runs/$1"; }
weights() { sha256sum <"runs/$1/align/output/adapter_model.safetensors"; }
say() { echo "FAILED: $*"; failures=$((failures + 1)); }
check() { # WHAT CONDITION of awk
    checks=$((checks + 1))
    awk "BEGIN { exit !($2) }" || say "$1: $2"
}
finite() { # WHAT RUN [none]: every file of weights and moments in the run, which has some unless none may be
    local files
    checks=$((checks + 1))
    files=$(find "runs/$2" -name '*.safetensors')
    [ -n "$files" ] || { [ "${3-}" = none ] || say "$1: nothing was saved"; return; }
    "$world" finite $files || say "$1: a number that is not finite was saved"
}
# close A B LIMIT: every recorded number of the two runs that is not a time agrees to LIMIT of its size (of 1 where it is less)
close() {
    checks=$((checks + 1))
    "$SAIL" report "runs/$1" --format csv >a.csv && "$SAIL" report "runs/$2" --format csv >b.csv
    python3 - "$1" "$2" "$3" <<'PYTHON' || failures=$((failures + 1))
import csv, sys
def rows(path):
    return {(r["stage"], int(r["step"]), r["name"]): float(r["value"]) for r in csv.DictReader(open(path)) if not r["name"].startswith("time/")}
a, b = rows("a.csv"), rows("b.csv")
skip = {k for k in a if "memory" in k[2]}
worst = max(((abs(a[k] - b[k]) / max(1, abs(a[k])), k) for k in a.keys() & b.keys() if k not in skip), default=None)
ok = a.keys() == b.keys() and worst and worst[0] <= float(sys.argv[3]) and any(k[2] == "grad_norm" for k in a)
print(f"{sys.argv[2]} against {sys.argv[1]}: {len(a)} numbers, largest difference {worst[0]:.2g} in {worst[1][2]} at step {worst[1][1]}")
if not ok:
    print("FAILED: the runs differ", sorted({k[2] for k in a.keys() ^ b.keys()}))
sys.exit(not ok)
PYTHON
}
# resumed NAME: the run, cut back to the checkpoint before its last one and gone on with, ends with the same bits
resumed() {
    local before last
    before="$(hash "$1") $(weights "$1")"
    last=$(ls -d "runs/$1"/align/checkpoints/step-* | tail -n 1)
    rm -r "$last" "runs/$1/align/output"
    expect 0 "$SAIL" resume "runs/$1"
    equal "$1 resumed" "$before" "$(hash "$1") $(weights "$1")"
}
# metric RUN NAME: of all steps of the stage align, one a line
metric() { "$SAIL" report "runs/$1" --format csv | awk -F, -v name="$2" '$2 == "align" && $4 == name { print $5 }'; }
