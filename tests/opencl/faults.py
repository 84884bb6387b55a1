"""Planted faults: one text of a kernel is replaced on its way to the driver, and each row's cases run until one of them notices.

A fault that no row notices is a failure, and so is one whose text is not in the kernels any more: then mend the text here.
Noticed is what a reader of the row would be told: wrong numbers, a report of oclgrind, a crash. A kernel that does not compile
with the new text, or cases that are not done in time, notice nothing."""
import os

# name: kernel file, text, replacement, ops whose cases run, arguments
FAULTS = {
    "missing barrier, tiled product": (
        "matmul.cl", "        barrier(CLK_LOCAL_MEM_FENCE);\n    }\n    y += plane", "    }\n    y += plane", ["matmul"], ["--kinds", "9"]),
    "missing barrier, sum over a group": (
        "prelude.cl", "            space[me] += space[me + half_];\n        barrier(CLK_LOCAL_MEM_FENCE);", "            space[me] += space[me + half_];",
        ["rms_norm"], []),
    "missing barrier, attention": (
        "attention.cl", "            fetch_rows(lkv, BK, ROW(v, s.row + at) + (size_t)group * HD, v_ld, n, item);\n            barrier(CLK_LOCAL_MEM_FENCE);",
        "            fetch_rows(lkv, BK, ROW(v, s.row + at) + (size_t)group * HD, v_ld, n, item);", ["attention"], ["--kinds", "9"]),
    "off-by-one store, normalisation": (
        "norm.cl", "    for (long j = get_local_id(0); j < n; j += get_local_size(0))\n        STORE(TY, to, j, LOAD(TX, from, j) * r",
        "    for (long j = get_local_id(0); j <= n; j += get_local_size(0))\n        STORE(TY, to, j, LOAD(TX, from, j) * r", ["rms_norm"], []),
    "off-by-one store, rows of a product": (
        "matmul.cl", "            if (r < m && c < n)\n                finish4(", "            if (r <= m && c < n)\n                finish4(", ["matmul"],
        ["--kinds", "9"]),
    "uninitialised local memory, sum over a group": (
        "prelude.cl", "    space[me] = v;", "    if (me > 0)\n        space[me] = v;", ["rms_norm"], []),
    "uninitialised local memory, tail of a tile": (
        "matmul.cl", "        if (k + r < k_end)                                                                                             \\\n"
        "            e = TAKE4(T, ROW(from, k + r), first + c, count);                                                             \\\n"
        "        *(local float4 *)(to + r * (width + 4) + c) = e;",
        "        if (k + r < k_end) { \\\n            e = TAKE4(T, ROW(from, k + r), first + c, count); \\\n"
        "        *(local float4 *)(to + r * (width + 4) + c) = e; }", ["matmul"], ["--kinds", "3"]),
}


NUMBERS = (", ref has ", " was changed", " gives other bits") # what tests/conformance/compare.c says


def noticed(problem, reports):
    if reports and os.path.getsize(reports):
        return "reports"
    if problem and any(x in problem for x in NUMBERS):
        return "numbers"
    return "crash" if problem and problem.startswith("status -") else None


def row(b, environment, conformance, Skip):
    rows = []
    for name in ("pocl", "rusticl", "intel", "oclgrind"):
        try:
            rows.append((name, environment(b, name)))
        except Skip as e:
            print(f"without {name}: {e}")
    kernels = os.path.join(os.path.dirname(__file__), "..", "..", "backends", "opencl", "kernels")
    for fault, (file, text, new, ops, more) in FAULTS.items():
        with open(os.path.join(kernels, file)) as f:
            if text not in f.read():
                b.verdict(False, f"{fault}: the text to replace is not in {file}: mend tests/opencl/faults.py")
                continue
        caught, missed = [], []
        for name, env in rows:
            reports = os.path.join(b.logs, "oclgrind-fault.reports") if name == "oclgrind" else None
            problem, _, _ = conformance(b, None, f"fault-{fault}-{name}", env, ops, more + (["--most", "1200"] if reports else []), 400, "gpu",
                                            reports, (text, new))
            with open(b.planted) as f:
                planted = any(line.startswith("patched ") and int(line.split()[1]) for line in f)
            how = noticed(problem, reports)
            if not planted:
                missed.append(f"{name} (not planted)")
            elif how:
                caught.append(f"{name} ({how})")
            else:
                missed.append(f"{name} ({problem.strip().splitlines()[0]})" if problem else name)
        b.verdict(caught, f"{fault}: caught by {', '.join(caught) or 'none'}{'; not by ' + ', '.join(missed) if missed else ''}")
