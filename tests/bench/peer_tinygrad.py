#!/usr/bin/env python3
"""peer_tinygrad.py BENCH [TOKENS [WIDTHS]] - tinygrad's CL device beside bench_opencl's figures, at the same shapes in one run, f32.

BENCH: build/tests/bench/bench_opencl; TOKENS as 512,2048; WIDTHS as 576x576,1536x576 (outputs x inputs, of bench_opencl's). Needs `pip install tinygrad numpy` and the driver that the environment names. Each shape: ours,
tinygrad as it is, tinygrad with BEAM=2 (its search is not timed), in turns; medians, and geometric means of ours over theirs."""
import math
import os
import re
import statistics
import subprocess
import sys
import time

WIDTHS = "576x576,1152x576,1536x576,576x1536,896x896,1536x1536"
ROUNDS = 5


def child(beam):
    """One process a setting: tinygrad reads BEAM when it starts. A line in, its seconds out."""
    os.environ.update(BEAM=beam, DEV="CL")
    import numpy as np
    from tinygrad import Tensor, Device, TinyJit

    def product(m, n, k):
        a = Tensor(np.random.default_rng(1).standard_normal((m, k), dtype=np.float32)).realize()
        w = Tensor(np.random.default_rng(2).standard_normal((n, k), dtype=np.float32)).realize()
        run = TinyJit(lambda: (a @ w.T).realize())
        for _ in range(4): # captures, and with BEAM searches
            run()
        Device[Device.DEFAULT].synchronize()
        return run

    made = {}
    for line in sys.stdin:
        shape = tuple(map(int, line.split()))
        if shape not in made:
            made.clear()
            made[shape] = product(*shape)
        start = time.perf_counter()
        made[shape]()
        Device[Device.DEFAULT].synchronize()
        print(time.perf_counter() - start, flush=True)


def main():
    if sys.argv[1] == "--child":
        return child(sys.argv[2])
    bench, tokens, widths = (sys.argv[1:] + ["512,2048", WIDTHS][len(sys.argv) - 2:])[:3]
    peers = {beam: subprocess.Popen([sys.executable, __file__, "--child", beam], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
             for beam in ("0", "2")}
    logs = {beam: [] for beam in peers}
    print(f"{'m x n x k':>20} {'sail':>10} {'tinygrad':>10} {'BEAM=2':>10}   Gflop/s")
    for m in map(int, tokens.split(",")):
        for n, k in (map(int, w.split("x")) for w in widths.split(",")):
            flops = 2e-9 * m * n * k
            times = {beam: [] for beam in peers}
            ours = []
            for _ in range(ROUNDS):
                for beam, p in peers.items():
                    p.stdin.write(f"{m} {n} {k}\n")
                    p.stdin.flush()
                    times[beam].append(float(p.stdout.readline()))
                out = subprocess.run([bench, "--tokens", str(m), "--rounds", "3", "--only", f"{n}x{k}", "--peers", "no"], capture_output=True,
                                     text=True, check=True).stdout
                ours.append(float(re.search(r"nt\s+([\d.]+) Gflop/s", out).group(1)))
            mine = statistics.median(ours)
            theirs = {beam: flops / statistics.median(t) for beam, t in times.items()}
            for beam in peers:
                logs[beam].append(math.log(mine / theirs[beam]))
            print(f"{f'{m} x {n} x {k}':>20} {mine:10.1f} {theirs['0']:10.1f} {theirs['2']:10.1f}", flush=True)
    mean = {beam: math.exp(statistics.mean(v)) for beam, v in logs.items()}
    print(f"geometric means: {mean['0']:.2f} x tinygrad, {mean['2']:.2f} x tinygrad with BEAM=2")
    for p in peers.values():
        p.stdin.close()
        p.wait()


if __name__ == "__main__":
    sys.exit(main())
