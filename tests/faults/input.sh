#!/bin/bash
# input.sh - bad input of every kind: exit status, and a message with what is wrong, where, and what would be right.
. "$(dirname "$0")/lib.sh"
cc=${CC:-cc}
"$world" make . || finish
export steps=3
recipe good dpp
full=$work/model/model.safetensors

# ---- model files ----
m() { rm -rf bad; cp -r model bad; }
run() { rm -rf runs; "$sail" run good.yaml "$@"; }
expect "no model directory" 2 'nowhere' run model.path=nowhere
m; rm bad/config.json
expect "no config.json" 2 'bad.*config\.json' run model.path=bad
m; truncate -s 40 bad/config.json
expect "truncated config.json" 2 'bad/config\.json:[0-9]+' run model.path=bad
m; sed -i 's/"llama"/"lama"/; s/LlamaForCausalLM/LamaForCausalLM/' bad/config.json
expect "unknown family" 2 'bad/config\.json.*lama.*llama' run model.path=bad
m; sed -i 's/"hidden_size": 32/"hidden_size": "x"/' bad/config.json
expect "wrong type in config.json" 2 'bad/config\.json.*hidden_size' run model.path=bad
m; sed -i 's/"hidden_size": 32/"hidden_size": 48/' bad/config.json
expect "config.json and weights disagree" '[12]' '(model\.[a-z_.]+weight).*(32|48)' run model.path=bad
m; rm bad/model.safetensors
expect "no weights" 2 'bad.*safetensors' run model.path=bad
m; truncate -s $(($(stat -c %s "$full") - 100)) bad/model.safetensors
expect "truncated weights" 2 'bad/model\.safetensors' run model.path=bad
m; truncate -s 5 bad/model.safetensors
expect "weights of five bytes" 2 'bad/model\.safetensors' run model.path=bad
m; for at in 0 1 2 3 4 5 6 7; do "$world" set bad/model.safetensors $at 127; done
expect "a header that says it is huge" 2 'bad/model\.safetensors.*header' run model.path=bad
m; sed -i '1s/\[64,32\]/[64,99]/; 1s/\[64, 32\]/[64, 99]/' bad/model.safetensors
expect "a tensor that lies about its shape" 2 'bad/model\.safetensors.*(embed_tokens|lm_head|proj)' run model.path=bad
m; sed -i '1s/model.norm.weight/model.worn.weight/' bad/model.safetensors
expect "a tensor is missing" '[12]' 'model\.norm\.weight' run model.path=bad

# ---- recipes ----
expect "unknown key, on the command line" 2 'train\.stepps.*steps' run train.stepps=4
sed 's/max_grad_norm/max_grad_nrom/' good.yaml > bad.yaml
expect "unknown key, in the file" 2 'bad\.yaml:8.*max_grad_nrom.*max_grad_norm' "$sail" run bad.yaml
expect "unknown section" 2 'trian.*train' run trian.steps=4
expect "wrong type" 2 'train\.steps' run train.steps=many
expect "out of range" 2 'train\.lr.*1000' run train.lr=1e30
expect "unknown choice" 2 'data\.truncate.*(drop|start|end)' run data.truncate=middle
expect "unknown plugin, nearest name" 2 'method\.objective.*sali.*sail' run method.objective=sali
expect "unknown backend" 2 'model\.backend' run model.backend=reff
expect "no recipe" 2 'nothing\.yaml' "$sail" run nothing.yaml
printf 'name: [a\nruns: x\n' > bad.yaml
expect "malformed YAML" 2 'bad\.yaml:[0-9]+' "$sail" run bad.yaml
printf 'name: a\nname: b\n' > bad.yaml
expect "a key twice" 2 'bad\.yaml:2.*name' "$sail" run bad.yaml
printf 'error("on purpose")\n' > bad.lua
expect "an error in Lua" '[12]' 'bad\.lua:1.*on purpose' "$sail" run bad.lua
expect "no command of this name" 2 'rnu.*run' "$sail" rnu
expect "no option of this name" 2 'forse.*force' "$sail" run good.yaml --forse

# ---- data ----
d() { cp pairs.jsonl bad.jsonl; }
expect "no data file" 2 'none\.jsonl' run data.train=none.jsonl
d; sed -i '4s/}$//' bad.jsonl
expect "malformed row" 2 'bad\.jsonl:4' run data.train=bad.jsonl
d; sed -i '4s/chosen_ids/chosen_idz/' bad.jsonl
expect "a row lacks a field" 2 'bad\.jsonl:4.*chosen' run data.train=bad.jsonl
d; sed -i '4s/"prompt_ids": \[[0-9]*/"prompt_ids": ["x"/' bad.jsonl
expect "a row with a wrong type" 2 'bad\.jsonl:4.*prompt_ids' run data.train=bad.jsonl
d; sed -i '4s/"chosen_ids": \[[0-9]*/"chosen_ids": [9999/' bad.jsonl
expect "an id beyond the vocabulary" 2 'bad\.jsonl:4.*9999.*64' run data.train=bad.jsonl data.held_out=0
d; sed -i '4s/"chosen_ids": \[[^]]*\]/"chosen_ids": []/' bad.jsonl
expect "an empty response is counted" 0 'empty.*bad\.jsonl:4' run data.train=bad.jsonl data.held_out=0
: > bad.jsonl
expect "no row at all" 2 'data\.train|bad\.jsonl' run data.train=bad.jsonl
d; sed -i '4s/}$//' bad.jsonl
expect "a bad row skipped on request is counted" 0 'bad\.jsonl:4' run data.train=bad.jsonl data.on_bad_row=skip data.held_out=0

# ---- plugins ----
mkdir -p plug
root=${SAIL_ROOT:?the source directory}
plugin() { # NAME TEXT
    rm -rf plug/*
    printf '%s\n' "$2" > plug/p.c
    mkdir -p plug/objective
    "$cc" -shared -fPIC -I"$root/core" -o "plug/objective/$1.so" plug/p.c
}
with_plugin() { rm -rf runs; SAIL_PLUGIN_PATH=$work/plug "$sail" run good.yaml "$@"; }
plugin other 'int nothing_here;'
expect "a plugin without the symbol" 2 'other\.so.*sail_plugin_query' with_plugin method.objective=other
plugin other '#include <sail/plugin.h>
static sail_plugin p; const sail_plugin *sail_plugin_query(void) { p.size = sizeof p; p.abi_major = 999; p.name = "other"; return &p; }'
expect "a plugin of another ABI" 2 'other\.so.*(ABI|interface|version).*999' with_plugin method.objective=other
plugin other '#include <stdlib.h>
const void *sail_plugin_query(void); const void *sail_plugin_query(void) { abort(); }'
expect "a plugin that crashes when asked" 2 'other\.so' with_plugin method.objective=other
plugin other 'const void *sail_plugin_query(void); const void *sail_plugin_query(void) { return 0; }'
expect "a plugin that describes nothing" 2 'other\.so' with_plugin method.objective=other
mkdir -p plug/objective; head -c 100 /dev/urandom > plug/objective/other.so
expect "a plugin that is no library" 2 'other\.so' with_plugin method.objective=other

# ---- the run's directory ----
rm -rf runs; : > runs
expect "runs is a file" '[12]' 'runs' "$sail" run good.yaml
rm -f runs
expect "an unwritable place" 1 '/proc/none.*' "$sail" run good.yaml runs=/proc/none
expect "a first run" 0 'done' run
good=$(digest runs/good)
expect "an existing run without --force" 2 'runs/good exists.*resume.*--force' "$sail" run good.yaml
same "nothing of it is lost" runs/good
expect "a finished run" 0 'finished' "$sail" resume runs/good
same "nor by resuming a finished one" runs/good
expect "resume of nothing" 2 'nothing.*run\.db' "$sail" resume nothing
mkdir -p runs/mine; echo precious > runs/mine/file
expect "--force on a directory that is no run" 2 'runs/mine.*no run' "$sail" run good.yaml --force name=mine
checks=$((checks + 1)); [ "$(cat runs/mine/file)" = precious ] || fail "--force removed what is no run"
expect "--force on a run" 0 'done' "$sail" run good.yaml --force
same "as the first" runs/good
cp -r runs/good runs/new; "$world" set runs/new/run.db 63 99
expect "run.db of a newer version" 2 'runs/new/run\.db.*newer.*99' "$sail" resume runs/new
cp -r runs/good runs/junk; head -c 4096 /dev/urandom > runs/junk/run.db; rm -f runs/junk/run.db-*
expect "run.db that is no database" 2 'runs/junk/run\.db' "$sail" resume runs/junk

# ---- resume ----
stopped() { # a run killed before its end: the last checkpoint and the output are gone
    rm -rf runs
    "$sail" run good.yaml train.steps=6 > out.txt 2>&1
    good=$(digest runs/good)
    rm -rf runs/good/align/output runs/good/align/checkpoints/step-000006
}
stopped
cp pairs.jsonl keep.jsonl; sed -i '9s/\[[0-9]*/[33/' pairs.jsonl
expect "resume with other data" 1 'step-000003.*data.*changed' "$sail" resume runs/good
head -40 keep.jsonl > pairs.jsonl
expect "resume with less data" 1 'step-000003.*data.*rows' "$sail" resume runs/good
cp keep.jsonl pairs.jsonl
"$world" set model/model.safetensors -1 -1
expect "resume with another model" 1 'step-000003.*base model' "$sail" resume runs/good
"$world" set model/model.safetensors -1 -1
expect "all put back" 0 'done' "$sail" resume runs/good
same "all put back" runs/good
for file in trained.safetensors state.json COMPLETE adapter/adapter_model.safetensors; do
    rm -rf runs/good/align/output
    "$world" set runs/good/align/checkpoints/step-000006/$file -9 -1
    expect "a bit of $file flipped" 0 'step-000006.*damaged.*the one before' "$sail" resume runs/good
    same "a bit of $file flipped" runs/good
done
rm -rf runs/good/align/output runs/good/align/checkpoints/step-000006/state.json
expect "a file of the checkpoint is missing" 0 'step-000006.*the one before' "$sail" resume runs/good
same "a file of the checkpoint is missing" runs/good
rm -rf runs/good/align/output
for c in runs/good/align/checkpoints/step-*; do "$world" set "$c/trained.safetensors" -9 -1; done
expect "all checkpoints damaged" 2 'no checkpoint.*whole' "$sail" resume runs/good

# ---- two at once ----
steps=400 recipe long full
"$sail" run long.yaml > /dev/null 2>&1 &
pid=$!
until [ -f runs/long/recipe.yaml ] || ! kill -0 $pid 2>/dev/null; do pause 5; done
expect "two processes on one run" 1 'runs/long/run\.db.*another process' "$sail" resume runs/long
expect "--force on a run that goes on" 1 'runs/long.*another process' "$sail" run long.yaml --force
kill -9 $pid; wait $pid 2>/dev/null
finish
