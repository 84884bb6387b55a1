"""The rows of test-opencl that need no device: what real chips' compilers make of the kernels, and the floors of a step."""
import concurrent.futures
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

AMD = ["gfx90a", "gfx940", "gfx1030"]
INTEL = ["dg2", "tgllp"]
FEW = ["tgllp"] # integrated: what the backend gives GPUs with few registers
BITCODE = "/usr/lib/x86_64-linux-gnu/amdgcn/bitcode"
SMOLLM2 = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
           "vocab_size": 49152, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "rope_theta": 100000.0}
QWEN25 = {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
          "vocab_size": 151936, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "rope_theta": 1000000.0}
# name: Tflop/s in f32, GB/s: data sheets
CARDS = {"RX 7900 XTX": (61.0, 960.0), "MI210": (22.6, 1600.0), "Arc A770": (17.2, 560.0)}
PROMPT, RESPONSE, BATCH = 256, 128, 4


def write_model(path, config, **changes):
    """A model whose weights are all zero and take no room on the disk."""
    c = dict({"rms_norm_eps": 1e-5, "max_position_embeddings": 2048, "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "bfloat16",
              "eos_token_id": 2}, **config)
    c.update(changes)
    os.makedirs(path)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(c, f)
    d, ff = c["hidden_size"], c["intermediate_size"]
    kv = d // c["num_attention_heads"] * c["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": [c["vocab_size"], d], "model.norm.weight": [d]}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        for name, shape in (("self_attn.q_proj", [d, d]), ("self_attn.k_proj", [kv, d]), ("self_attn.v_proj", [kv, d]), ("self_attn.o_proj", [d, d]),
                            ("mlp.gate_proj", [ff, d]), ("mlp.up_proj", [ff, d]), ("mlp.down_proj", [d, ff]), ("input_layernorm", [d]),
                            ("post_attention_layernorm", [d])):
            shapes[p + name + ".weight"] = shape
            if c["model_type"] == "qwen2" and name[10:] in ("q_proj", "k_proj", "v_proj"):
                shapes[p + name + ".bias"] = shape[:1]
    header, at = {}, 0
    for name, shape in shapes.items():
        n = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)


def write_pairs(path, rows, prompt, response, vocab):
    with open(path, "w") as f:
        for i in range(rows):
            ids = lambda part, n: [3 + (i * 7919 + part * 104729 + k * 31) % (vocab - 3) for k in range(n)]
            f.write(json.dumps({"prompt_ids": ids(0, prompt), "chosen_ids": ids(1, response), "rejected_ids": ids(2, response)}) + "\n")


# ---- what a step compiles ----

def dump(b, environment, registers, out):
    """The programs of 2 steps and of what they write, as GPUs with many or few registers get them, for the shapes of SmolLM2 and Qwen2.5-0.5B."""
    env = environment(b, "pocl")
    env.update(SAIL_OPENCL_LIBRARY=b.shim, OCLSHIM_TYPE="=gpu", OCLSHIM_DUMP=out)
    with tempfile.TemporaryDirectory() as work:
        write_pairs(os.path.join(work, "pairs.jsonl"), 16, 40, 8, 1000)
        for name, config in (("smollm2", SMOLLM2), ("qwen25", QWEN25)):
            write_model(os.path.join(work, name), config, num_hidden_layers=2, vocab_size=1024)
        lora = "{kind: lora, rank: 16, alpha: 32, targets: all-linear}"
        for name, dtype, adapter in (("smollm2", "bf16", lora), ("smollm2", "f32", lora), ("smollm2", "bf16", "null"), ("qwen25", "bf16", lora)):
            with open(os.path.join(work, "recipe.yaml"), "w") as f:
                f.write(f"""
seed: 1
model: {{path: {name}, backend: {{kind: opencl, cache: "off", variants: none, registers: {registers}}}, dtype: {dtype}, adapter: {adapter}{'' if adapter == lora else ', reference: copy'}}}
data: {{train: pairs.jsonl, held_out: 0, max_response: 8}}
method: {{objective: sail, routes: {{dpp: {{weight: 0.5, coef: 0.2}}}}}}
train: {{steps: 2, batch: 2, lr: 1e-4}}
eval: {{before: false, every: 0}}
""")
            command = [os.path.join(b.build, "sail"), "run", "--force", "recipe.yaml", "name=x"]
            status, seconds, log = b.run(f"offline-{registers}-{name}-{dtype}-{'lora' if adapter == lora else 'all'}", command, env, 900, work)
            if status != 0:
                return f"a run of {name} in {dtype} to see what it compiles: {seconds}, status {status}, see {log}"
    return None


def programs(directory):
    for path in sorted(glob.glob(os.path.join(directory, "*.kernels"))):
        base = path[:-len(".kernels")]
        with open(path) as f:
            kernels = {}
            for line in f:
                name, items, local = line.split()
                old = kernels.get(name, (0, 0))
                kernels[name] = (max(old[0], int(items)), max(old[1], int(local)))
        with open(base + ".options") as f:
            yield base + ".cl", f.read().split(), kernels


def short(options):
    """What tells one build of a kernel from another, to print."""
    return " ".join(o for o in options if not o.startswith("-")) or "-"


def compile_amd(source, options, chip, out):
    keep = [o for o in options if o != "-cl-kernel-arg-info"]
    p = subprocess.run(["clang-15", "-x", "cl", "-Xclang", "-finclude-default-header", "-target", "amdgcn-amd-amdhsa", f"-mcpu={chip}", "-O3",
                        f"--rocm-device-lib-path={BITCODE}", "-w", *keep, "-S", source, "-o", out], capture_output=True, text=True, timeout=300)
    if p.returncode != 0:
        return p.stderr[:600]
    with open(out) as f:
        text = f.read()
    kernels = {}
    for m in re.finditer(r"\.amdhsa_kernel (\w+)\n(.*?)\.end_amdhsa_kernel(.*?)(?=\.amdhsa_kernel|\Z)", text, re.S):
        number = lambda key: int(re.search(key + r":? (\d+)", m[3])[1])
        spilled = re.search(r"\.name:\s+" + m[1] + r"\n(?:.*\n)*?\s+\.vgpr_spill_count: (\d+)", text)
        kernels[m[1]] = {"registers": number("; NumVgprs"), "spill": max(number("; ScratchSize"), int(spilled[1]) if spilled else 0),
                         "local": number("; LDSByteSize"), "waves": number("; Occupancy")}
    return kernels


def compile_intel(source, options, chip, out):
    """The binary is taken apart by its patch tokens: 18 is scratch memory of a thread (spilled registers), 15 local memory of a group."""
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    p = subprocess.run(["ocloc", "compile", "-q", "-file", source, "-device", chip, "-options", " ".join(options), "-output", "k", "-out_dir", out],
                       capture_output=True, text=True, timeout=300)
    binary = glob.glob(os.path.join(out, "*.bin"))
    if p.returncode != 0 or not binary:
        return (p.stdout + p.stderr)[:600]
    subprocess.run(["ocloc", "disasm", "-file", binary[0], "-device", chip, "-dump", os.path.join(out, "d")], capture_output=True, timeout=300)
    try:
        with open(os.path.join(out, "d", "PTM.txt")) as f:
            text = f.read()
    except OSError:
        return "ocloc disasm wrote no PTM.txt"
    kernels = {}
    for part in text.split("Kernel #")[1:]:
        name = re.search(r"KernelName (\w+)", part)[1]
        value = lambda token, at: (lambda m: int.from_bytes(bytes(int(x, 16) for x in m[1].split()[at:at + 4]), "little") if m else 0)(
            re.search(rf"Token {token}\n\s*4 Size \d+\n\s*Hex ([0-9a-f ]+)", part))
        kernels[name] = {"registers": 128, "spill": value(18, 4), "local": value(15, 4), "waves": 8}
    return kernels


def occupancy(chip, k, items, local):
    """Share of a compute unit's threads that registers and local memory allow at once; an estimate."""
    if chip in INTEL:
        most, simds, width, room = 8, 16, 16, 128 << 10 # an Xe core's 16 engines of 8 threads, SIMD16
    else:
        most, simds, width, room = (16, 2, 32, 64 << 10) if chip.startswith("gfx10") else (8, 4, 64, 64 << 10)
    waves = min(k["waves"], most)
    if local:
        waves = min(waves, (room // local) * -(-max(items, 1) // width) / simds)
    return min(1.0, waves / most)


def row(b, environment, tail):
    if not (shutil.which("clang-15") and os.path.isdir(BITCODE)) and not shutil.which("ocloc"):
        b.skip("offline", "neither clang-15 with rocm-device-libs nor ocloc (intel-opencl-icd) is installed")
        return
    out = os.path.join(b.work, "programs")
    found = {}
    for registers in ("many", "few"):
        place = os.path.join(out, registers)
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        problem = dump(b, environment, registers, place)
        if problem:
            b.verdict(False, f"offline: {problem}")
            return
        found[registers] = list(programs(place))
    chips = [(c, compile_amd) for c in AMD if shutil.which("clang-15")] + [(c, compile_intel) for c in INTEL if shutil.which("ocloc")]
    mine = lambda chip: found["few" if chip in FEW else "many"]
    jobs = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for chip, compiler in chips:
            for source, options, kernels in mine(chip):
                jobs[source, chip] = pool.submit(compiler, source, options, chip, f"{source}.{chip}")
    failed = {c: [] for c, _ in chips}
    rows = {}
    for chip, _ in chips:
        for source, options, kernels in mine(chip):
            got = jobs[source, chip].result()
            if isinstance(got, str):
                failed[chip].append(f"{'/'.join(kernels)} does not compile: {got.strip()}")
                continue
            for name, (items, local) in kernels.items():
                k = got.get(name)
                if not k:
                    failed[chip].append(f"{name}: the compiler tells nothing of it")
                    continue
                if k["spill"]:
                    failed[chip].append(f"{name} [{short(options)}] spills ({k['spill']} bytes of scratch)")
                total = k["local"] + local
                cells = rows.setdefault((name, items), {})
                worst = cells.get(chip)
                cell = (k["registers"], k["spill"], total, occupancy(chip, k, items, total))
                cells[chip] = cell if not worst or (cell[1], -cell[3], cell[0]) > (worst[1], -worst[3], worst[0]) else worst
    print("kernels: registers of an item, bytes of local memory of a group, share of the threads a compute unit can hold; of several builds the "
          "worst.\nIntel: 128 registers of 32 bytes a thread; SIMD16 is assumed")
    print(f"{'kernel':<24}{'items':>6}" + "".join(c.rjust(18) for c, _ in chips))
    for (name, items), cells in sorted(rows.items()):
        print(f"{name:<24}{items:>6}" + "".join((f"{c[0]} {c[2]:6d} {100 * c[3]:4.0f}%" + (" spills" if c[1] else "") if c else "-").rjust(18)
                                               for c in (cells.get(chip) for chip, _ in chips)))
    for chip, _ in chips:
        lines = "".join(f"\n         {x[:300]}" for x in failed[chip][:8])
        what = f": {len(failed[chip])} problems{lines}" if failed[chip] else ", none spills"
        b.verdict(not failed[chip], f"offline: {len(mine(chip))} programs for {chip}{what}")
    if b.args.table:
        floors(b)


# ---- floors ----

def count(b, work, config, steps):
    lines = os.path.join(work, "count.txt")
    env = dict(os.environ, SAIL_PLUGIN_PATH=os.path.join(b.build, "tests", "opencl"), SAIL_COUNT_FILE=lines)
    with open(os.path.join(work, "recipe.yaml"), "w") as f:
        f.write(f"""
seed: 1
model: {{path: {config}, backend: count, dtype: bf16, adapter: {{kind: lora, rank: 16, alpha: 32, targets: all-linear}}}}
data: {{train: pairs.jsonl, held_out: 0}}
method: {{objective: sail}}
train: {{steps: {steps}, batch: {BATCH}, lr: 1e-4}}
eval: {{before: false, every: 0}}
""")
    status, seconds, log = b.run(f"count-{config}-{steps}", [os.path.join(b.build, "sail"), "run", "--force", "recipe.yaml", "name=x"], env, 600, work)
    if status != 0:
        raise RuntimeError(f"status {status} after {seconds}, see {log}")
    with open(lines) as f:
        rows = [x.split() for x in f]
    return {tuple(r[:3]): int(r[3]) for r in rows if r[0] != "host"}, [r for r in rows if r[0] == "host"][0]


def floors(b):
    for title, name, config in (("SmolLM2-135M", "smollm2", SMOLLM2), ("Qwen2.5-0.5B", "qwen25", QWEN25)):
        with tempfile.TemporaryDirectory() as work:
            write_model(os.path.join(work, name), config)
            write_pairs(os.path.join(work, "pairs.jsonl"), 64, PROMPT, RESPONSE, 1000)
            try:
                (few, host2), (more, host3) = count(b, work, name, 2), count(b, work, name, 3)
            except RuntimeError as e:
                b.verdict(False, f"floors of {title}: {e}")
                continue
        step = {k: n - few.get(k, 0) for k, n in more.items() if n > few.get(k, 0)}
        ops = {}
        for (op, flops, size), n in step.items():
            o = ops.setdefault(op, [0, 0.0, 0.0] + [0.0] * len(CARDS))
            o[0] += n
            o[1] += n * float(flops)
            o[2] += n * float(size)
            for i, (tflops, bandwidth) in enumerate(CARDS.values()):
                o[3 + i] += n * max(float(flops) / tflops / 1e12, float(size) / bandwidth / 1e9)
        print(f"\nfloors of a DPO step of {title} with LoRA 16: {BATCH} pairs, prompts of {PROMPT}, responses of {RESPONSE}, bf16 storage, f32 "
              "arithmetic. An estimate, by\ndata sheets: each call at the card's full arithmetic or bandwidth, whichever is the longer; no card was measured")
        print(f"{'op':<16}{'calls':>7}{'Gflop':>10}{'MB':>10}" + "".join(f"{c:>16} ms" for c in CARDS))
        total = [sum(o[i] for o in ops.values()) for i in range(3 + len(CARDS))]
        for op, o in sorted(ops.items(), key=lambda x: -x[1][3]) + [("all", total)]:
            print(f"{op:<16}{o[0]:>7}{o[1] / 1e9:>10.2f}{o[2] / 1e6:>10.1f}" + "".join(f"{1e3 * t:>19.3f}" for t in o[3:]))
        print(f"host and device exchange {float(host3[1]) - float(host2[1]):.0f} bytes up and {float(host3[2]) - float(host2[2]):.0f} down in a step")
        b.verdict(total[1] > 1e11, f"floors of {title}: {total[1] / 1e12:.2f} Tflop a step; " +
                  ", ".join(f"{c} {1e3 * total[3 + i]:.1f} ms" for i, c in enumerate(CARDS)))
