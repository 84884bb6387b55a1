"""other_goldens.py - the recorded method numbers made anew with other seeds and settings, and the tests run on them.

    python3 tests/oracles/other_goldens.py BUILD [SEED] [--keep DIR]

The generators of ../shared/golden/method are run with settings drawn by the seed (default 1): betas, mixtures, parameters of the preference
models, learning rates, epochs, sizes. What fits the recorded set only is found out. Needs what those scripts need (torch, transformers, trl,
peft, scipy, mpmath: pip install …, into an environment of its own); some minutes. Ends with the status of the tests."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
SHARED = os.path.join(ROOT, "..", "shared", "golden")


def other(p, rng):
    def pick(low, high, digits=2):
        return round(rng.uniform(low, high), digits)

    p["seed"] = rng.randrange(1, 1 << 30)
    e = p["enumeration"]
    for x in e["problems"]:
        x.update(beta=pick(0.05, 1), scale=pick(0.7, 1.3), prompts=rng.randint(1, 4))
    for x in e["models"] + p["preference"]["models"]:
        q = x["parameters"]
        for key, low, high in (("scale", 0.4, 2), ("temperature", 0.5, 2), ("epsilon", 0, 0.3)):
            if key in q:
                q[key] = pick(low, high)
        if "nu" in q:
            q["nu"] = pick(1, 4) if x["preference"] == "rao_kupper" else pick(0, 3)
    e["constant_baseline"] = pick(-1, 0)
    share = [pick(0.1, 1) for _ in e["mixture"]]
    for key, s in zip(e["mixture"], share):
        e["mixture"][key] = s / sum(share)
    for key in ("DDP", "DPP", "DPR"):
        e["coefficients"][key] = pick(0.05, 0.8)
    p["objectives"]["betas"] = [pick(0.02, 0.1), pick(0.1, 0.4)]
    # few pairs: the ten steps meet them again, where errors of the first steps show
    p["tiny"].update(intermediate=32 * rng.randint(2, 6), kv_heads=rng.choice([1, 2, 4]), tied=rng.random() < 0.5, std=pick(0.05, 0.1),
                     pairs=rng.choice([16, 24, 32]))
    t = p["trajectories"]
    t["hyper"].update(lr=rng.choice([2e-4, 5e-4, 1e-3]), warmup=rng.randint(0, 4), beta=pick(0.05, 0.3), lora_r=rng.choice([2, 8]),
                      max_grad_norm=pick(0.3, 3))
    for run in t["runs"]:
        if "sail" in run:
            for key in ("DDP", "DPP", "DPR"):
                run["sail"]["coefficient"][key] = pick(0.05, 0.5)
    p["schedules"].update(lr=1e-4 * rng.randint(1, 9), warmup=rng.randint(1, 20), total=rng.randint(50, 150))
    for x in p["evaluation"]["cases"]:
        x.update(prompts=rng.randint(20, 80), tie=pick(0, 0.3), abstain=pick(0, 0.2))
    p["decoding"]["vocabulary"] = rng.randint(30, 70)


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("build")
    a.add_argument("seed", nargs="?", type=int, default=1)
    a.add_argument("--keep")
    o = a.parse_args()
    scripts = os.path.join(SHARED, "method", "scripts")
    if not os.path.isdir(scripts):
        sys.exit("other_goldens: ../shared/golden/method/scripts is not there")
    with open(os.path.join(scripts, "params.json")) as f:
        params = json.load(f)
    other(params, random.Random(o.seed))
    with tempfile.TemporaryDirectory() as made:
        root = o.keep or made
        os.makedirs(os.path.join(root, "method"), exist_ok=True)
        for name in ("models", "text"):
            if not os.path.lexists(os.path.join(root, name)):
                os.symlink(os.path.realpath(os.path.join(SHARED, name)), os.path.join(root, name))
        with open(os.path.join(root, "params.json"), "w") as f:
            json.dump(params, f, indent=1)
        env = dict(os.environ, PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
        made_all = subprocess.run(["sh", os.path.join(scripts, "make_all.sh"), os.path.join(root, "params.json"), os.path.join(root, "method")], env=env)
        if made_all.returncode:
            sys.exit("other_goldens: the generators failed")
        tests = ["enumeration", "estimators", "preference", "objectives", "variants", "trajectories", "mixture", "schedules", "win_rate", "search"]
        sys.exit(subprocess.run(["meson", "test", "-C", o.build, "--no-rebuild", "--print-errorlogs", "--suite", "golden"] + tests,
                                env=dict(os.environ, SAIL_GOLDEN=os.path.realpath(root))).returncode)


main()
