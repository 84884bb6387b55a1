"""reward_models.py - for tests: the recorded reward model as other projects keep theirs; the standard library only.

make GOLDEN DIR: DIR/plain, DIR/beaver, DIR/cost, DIR/eurus, with the recorded vocabulary; DIR/ids.jsonl, every beginning of every row.
compare GOLDEN DIR: DIR/NAME.jsonl, what `sail score` wrote for ids.jsonl, against the recorded scores as each form has them."""
import json
import os
import shutil
import struct
import sys

BIAS, MEAN, VAR = 0.25, 0.1, 4.0


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def write(path, tensors):
    head, body = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def numbers(head, body, name, code):
    a, b = head[name]["data_offsets"]
    return list(struct.unpack("<%d%s" % ((b - a) // struct.calcsize(code), code), body[a:b]))


def recorded(golden):
    head, body = read(golden + "/models/reward/expected.safetensors")
    lengths = numbers(head, body, "lengths", "q")
    ids = numbers(head, body, "input_ids", "q")
    width = len(ids) // len(lengths)
    rows = [ids[i * width:i * width + n] for i, n in enumerate(lengths)]
    return rows, numbers(head, body, "rewards", "f"), [numbers(head, body, "score_every_position.%d" % i, "f") for i in range(len(rows))]


def make(golden, to):
    head, body = read(golden + "/models/reward/model.safetensors")
    tensors = {k: (v["dtype"], v["shape"], body[slice(*v["data_offsets"])]) for k, v in head.items() if k != "__metadata__"}
    with open(golden + "/models/reward/config.json") as f:
        config = json.load(f)

    def model(name, changes, renamed, more=None):
        os.makedirs(to + "/" + name)
        c = {k: v for k, v in dict(config, **changes).items() if v is not None}
        with open("%s/%s/config.json" % (to, name), "w") as f:
            json.dump(c, f)
        write("%s/%s/model.safetensors" % (to, name), dict({renamed.get(k, k): v for k, v in tensors.items()}, **(more or {})))
        shutil.copy(golden + "/models/gguf/tokenizer.json", "%s/%s/tokenizer.json" % (to, name))
        with open("%s/%s/tokenizer_config.json" % (to, name), "w") as f:
            json.dump({"eos_token": "<|im_end|>"}, f)

    bias = {"score_head.bias": ("F32", [1], struct.pack("<f", BIAS))}
    buffers = {"normalizer.mean": ("F32", [1], struct.pack("<f", MEAN)), "normalizer.var": ("F32", [1], struct.pack("<f", VAR)),
               "normalizer.count": ("I64", [1], struct.pack("<q", 9))}
    none = {"id2label": None, "label2id": None}
    model("plain", {}, {})
    model("beaver", dict(none, architectures=["LlamaModelForScore"], score_dim=1, bias=True, score_type="reward", do_normalize=True,
                         normalizer_type="EMA", mean=[MEAN], var=[VAR]), {"score.weight": "score_head.weight"}, dict(bias, **buffers))
    model("cost", dict(none, architectures=["LlamaModelForScore"], score_dim=1, bias=True, score_type="cost", do_normalize=False),
          {"score.weight": "score_head.weight"}, bias)
    model("eurus", dict(none, architectures=["EurusRewardModel"], model_type="mistral", sliding_window=None), {"score.weight": "regression_head.weight"})
    rows, _, _ = recorded(golden)
    with open(to + "/ids.jsonl", "w") as f:
        for row in rows:
            for n in range(len(row)):
                f.write(json.dumps({"ids": row[:n + 1]}) + "\n")


def compare(golden, to):
    rows, rewards, every = recorded(golden)
    forms = {"plain": lambda x: x, "eurus": lambda x: x, "beaver": lambda x: (x + BIAS - MEAN) / (VAR ** 0.5 + 1e-8), "cost": lambda x: -(x + BIAS)}
    for name, form in forms.items():
        with open("%s/%s.jsonl" % (to, name)) as f:
            got = [json.loads(x)["score"] for x in f]
        want = [form(x) for row in every for x in row]
        at, worst = 0, 0
        for i, row in enumerate(rows):
            at += len(row)
            worst = max(worst, abs(got[at - 1] - form(rewards[i])))
        worst = max([worst] + [abs(a - b) for a, b in zip(got, want)])
        print("%s: %d scores at every position and %d rewards compared, largest deviation %.2g" % (name, len(want), len(rewards), worst))
        if len(got) != len(want) or not worst <= 5e-5:
            sys.exit("%s: %d scores, %g off" % (name, len(got), worst))


{"make": make, "compare": compare}[sys.argv[1]](*sys.argv[2:])
