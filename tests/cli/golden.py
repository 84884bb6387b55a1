"""golden.py - recorded numbers for the command line tests; the standard library only.

rows EXPECTED: input rows {"ids"} of an expected.safetensors.
score EXPECTED OUT LIMIT: what `sail score` wrote for them, against logprob.i and entropy.i.
greedy EXPECTED OUT: what `sail generate --greedy --ignore-eos` wrote, against greedy.i and greedy_logprob.i.
same A B LIMIT: two outputs hold the same ids, and numbers that differ by LIMIT at most."""
import json
import struct
import sys


def tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    head, body, out = json.loads(data[8:8 + n]), data[8 + n:], {}
    for k, v in head.items():
        code = {"I64": "q", "F32": "f", "F64": "d"}.get(v.get("dtype")) if k != "__metadata__" else None
        if code:
            a, b = v["data_offsets"]
            out[k] = list(struct.unpack("<%d%s" % ((b - a) // struct.calcsize(code), code), body[a:b]))
    return out


def rows(expected):
    t = tensors(expected)
    width = len(t["input_ids"]) // len(t["lengths"])
    return [t["input_ids"][i * width:i * width + n] for i, n in enumerate(t["lengths"])]


def lines(path):
    with open(path) as f:
        return [json.loads(x) for x in f]


def close(what, a, b, limit):
    if len(a) != len(b):
        sys.exit("%s: %d numbers, not %d" % (what, len(a), len(b)))
    worst = max([abs(x - y) for x, y in zip(a, b)], default=0)
    if not worst <= limit:
        sys.exit("%s: off by %g, the limit is %g" % (what, worst, limit))


def equal(what, a, b):
    if a != b:
        sys.exit("%s: %s, not %s" % (what, a, b))


def main(what, *args):
    if what == "rows":
        for ids in rows(args[0]):
            print(json.dumps({"ids": ids}))
    elif what == "score":
        t, out, limit = tensors(args[0]), lines(args[1]), float(args[2])
        equal("rows", len(out), len(t["lengths"]))
        for i, ids in enumerate(rows(args[0])):
            equal("keys", sorted(out[i]), ["entropy", "ids", "logprobs"])
            equal("ids", out[i]["ids"], ids)
            equal("first log-probability", out[i]["logprobs"][0], None)
            close("logprobs", out[i]["logprobs"][1:], t["logprob.%d" % i], limit)
            close("entropy", out[i]["entropy"], t["entropy.%d" % i], limit)
    elif what == "greedy":
        t, out = tensors(args[0]), lines(args[1])
        equal("rows", len(out), len(t["lengths"]))
        for i, row in enumerate(out):
            equal("keys", sorted(row), ["finish", "ids", "logprobs", "text"])
            equal("ids", row["ids"], t["greedy.%d" % i])
            close("logprobs", row["logprobs"], t["greedy_logprob.%d" % i], 1e-4)
            equal("finish", row["finish"], "length")
    elif what == "same":
        a, b, limit = lines(args[0]), lines(args[1]), float(args[2])
        equal("rows", len(a), len(b))
        for x, y in zip(a, b):
            equal("ids", x["ids"], y["ids"])
            close("logprobs", [v for v in x["logprobs"] if v is not None], [v for v in y["logprobs"] if v is not None], limit)


main(*sys.argv[1:])
