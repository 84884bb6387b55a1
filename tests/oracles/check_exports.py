"""check_exports.py - what `sail export` writes, in the programs that it is written for: transformers, peft, llama.cpp.

    python3 tests/oracles/check_exports.py build/sail [NAME …]     # NAME: a family or tokenizer of shared/golden, smollm2

Needs torch, transformers, peft, safetensors and llama-cpp-python (pip install …, into an environment of its own), and the recorded models
of SAIL_GOLDEN or ../shared/golden; without them it says so and exits with 77. Warnings of transformers and peft are errors. Prints the
largest deviation of a log-probability, in nats, for each model and form; exits with 1 where one is beyond its limit.

Forms: hf, the directory; back, one made of the GGUF file; peft, the adapter alone on the original; gguf; lora, the adapter on it; merged, the adapter in it; each against
the recorded numbers or against peft with the original files. llama.cpp has no windows where it has architectures llama and phi3 (there the
first tokens alone are compared), takes longrope's form by the size of its context (there the long row is), and computes gelu from a table
of halves (there the limit is a hundred times larger)."""
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

try:
    import numpy as np
    import torch
    import transformers
    from safetensors.numpy import load_file, save_file
    from peft import LoraConfig, PeftModel, get_peft_model
    from llama_cpp_logprobs import Model
except ImportError as e:
    print("skipped: %s; this needs torch, transformers, peft, safetensors and llama-cpp-python" % e)
    sys.exit(77)

SAIL = sys.argv[1] if len(sys.argv) > 1 else "build/sail"
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(os.environ.get("SAIL_GOLDEN", ROOT / ".." / "shared" / "golden")).resolve()
if not (GOLDEN / "models").is_dir():
    print("skipped: no recorded numbers (set SAIL_GOLDEN, or put shared/golden beside the checkout)")
    sys.exit(77)

LINEAR = {"phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
          "phi": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]}
USUAL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
failures = []


class Loud(logging.Handler):
    """What transformers would print as a warning is a failure, unless it said that of the original as well."""
    said = set()
    ours = False

    def emit(self, record):
        if record.levelno < logging.WARNING or record.getMessage() in self.said:
            return
        if self.ours:
            raise RuntimeError("a warning: " + record.getMessage())
        self.said.add(record.getMessage())


def sail(*args):
    run = subprocess.run([SAIL, *map(str, args)], capture_output=True, text=True)
    if run.returncode:
        sys.exit("sail %s: %s" % (" ".join(map(str, args)), run.stderr))


def hf_model(path, ours=False):
    Loud.ours = ours
    return transformers.AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32, attn_implementation="eager").eval()


def hf_logprobs(model, rows):
    out = []
    with torch.no_grad():
        for ids in rows:
            logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
            out.append(logp[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy())
    return out


def llama_logprobs(rows, path, lora=None):
    model = Model(path, lora)
    out = [model.logprobs(ids) for ids in rows]
    model.close()
    return out


def worst(got, want, rows=None, first=None):
    pairs = list(zip(got, want))[:rows]
    return max(float(np.abs(g[:first] - w[:first]).max()) for g, w in pairs)


def judge(name, form, deviation, limit):
    if not deviation <= limit:
        failures.append("%s %s: off by %.2g, the limit is %.2g" % (name, form, deviation, limit))
    return "%.1e" % deviation


def adapter_for(kind, model_path, out):
    torch.manual_seed(1)
    targets = LINEAR.get(kind, USUAL)
    config = LoraConfig(r=4, lora_alpha=7, target_modules=targets, task_type="CAUSAL_LM", rank_pattern={targets[1]: 2},
                        alpha_pattern={targets[0]: 3})
    model = get_peft_model(hf_model(model_path), config)
    for name, p in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.1)
    model.peft_config["default"].base_model_name_or_path = str(model_path)
    model.save_pretrained(str(out))


def family(name, work):
    path = GOLDEN / "models" / "families" / name
    recorded = load_file(str(path / "expected.safetensors"))
    rows = [[int(x) for x in recorded["input_ids"][i][:n]] for i, n in enumerate(recorded["lengths"])]
    want = [recorded["logprob.%d" % i] for i in range(len(rows))]
    config = json.loads((path / "config.json").read_text())
    kind = config["model_type"]
    gelu = 5e-3 if kind.startswith("gemma") or kind in ("gpt_neox", "phi") else 5e-5
    seen = config["sliding_window"] - 1 if kind in ("mistral", "phi3") and config.get("sliding_window") else None
    of = 1 if name == "phi3_longrope" else None
    adapter = work / "adapter"
    adapter_for(kind, path, adapter)
    sail("export", "hf", "--model", path, "--output", work / "hf")
    sail("export", "peft", "--model", path, "--adapter", adapter, "--output", work / "peft")
    for suffix, extra in (("f32", []), ("q8_0", []), ("merged", ["--adapter", adapter])):
        sail("export", "gguf", "--model", path, "--type", "q8_0" if suffix == "q8_0" else "f32", "--output", work / (suffix + ".gguf"), *extra)
    sail("export", "gguf-lora", "--model", path, "--adapter", adapter, "--type", "f32", "--output", work / "lora.gguf")
    sail("export", "hf", "--model", work / "f32.gguf", "--output", work / "back")
    adapted = hf_logprobs(PeftModel.from_pretrained(hf_model(path), str(adapter)), rows)
    again = hf_logprobs(PeftModel.from_pretrained(hf_model(path), str(work / "peft")), rows)
    return [judge(name, "hf", worst(hf_logprobs(hf_model(work / "hf", True), rows), want), 5e-5),
            judge(name, "back", worst(hf_logprobs(hf_model(work / "back", True), rows), want), 5e-5),
            judge(name, "peft", worst(again, adapted), 5e-5),
            judge(name, "gguf", worst(llama_logprobs(rows, work / "f32.gguf"), want, of, seen), gelu),
            judge(name, "lora", worst(llama_logprobs(rows, work / "f32.gguf", work / "lora.gguf"), adapted, of, seen), 4 * gelu),
            judge(name, "merged", worst(llama_logprobs(rows, work / "merged.gguf"), adapted, of, seen), 4 * gelu),
            judge(name, "q8_0", worst(llama_logprobs(rows, work / "q8_0.gguf"), want, of, seen), 1)]


def smollm2(work):
    texts = json.loads((GOLDEN / "models/smollm2/texts.json").read_text())
    path = GOLDEN / ".." / "models" / texts["file"]
    if not path.exists():
        return ["no %s" % texts["file"]]
    (recorded,) = (GOLDEN / "models" / "smollm2").glob("*.safetensors")
    recorded = load_file(str(recorded))
    rows = [[int(x) for x in recorded["input_ids.%d" % i]] for i in (0, 1)]
    want = [recorded["logprob.%d" % i] for i in (0, 1)]
    sail("export", "hf", "--model", path, "--output", work / "hf")
    written = hf_model(work / "hf", True)
    adapter_for("llama", work / "hf", work / "adapter")
    sail("export", "peft", "--model", path, "--adapter", work / "adapter", "--output", work / "peft")
    sail("export", "gguf", "--model", work / "hf", "--type", "f32", "--output", work / "f32.gguf")
    sail("export", "gguf", "--model", path, "--type", "q8_0", "--output", work / "q8_0.gguf")
    sail("export", "gguf", "--model", path, "--type", "f32", "--adapter", work / "adapter", "--output", work / "merged.gguf")
    sail("export", "gguf-lora", "--model", path, "--adapter", work / "adapter", "--type", "f32", "--output", work / "lora.gguf")
    adapted = hf_logprobs(PeftModel.from_pretrained(hf_model(work / "hf"), str(work / "adapter")), rows)
    again = hf_logprobs(PeftModel.from_pretrained(hf_model(work / "hf"), str(work / "peft")), rows)
    return [judge("smollm2", "hf", worst(hf_logprobs(written, rows), want), 2e-4),
            "",  # that was made of a GGUF file
            judge("smollm2", "peft", worst(again, adapted), 5e-4),
            judge("smollm2", "gguf", worst(llama_logprobs(rows, work / "f32.gguf"), want), 5e-4),
            judge("smollm2", "lora", worst(llama_logprobs(rows, work / "f32.gguf", work / "lora.gguf"), adapted), 2e-3),
            judge("smollm2", "merged", worst(llama_logprobs(rows, work / "merged.gguf"), adapted), 2e-3),
            judge("smollm2", "q8_0", worst(llama_logprobs(rows, work / "q8_0.gguf"), want), 0.5)]


def tokenizer(name, work):
    """A model with this vocabulary: how many of the recorded texts (no tag in them, no other normal form than NFC) llama.cpp splits so."""
    import unicodedata
    path = GOLDEN / "text" / "tokenizers" / name
    size = 1 + max(max(json.loads((path / "tokenizer.json").read_text())["model"]["vocab"].values()),
                   max((t["id"] for t in json.loads((path / "tokenizer.json").read_text())["added_tokens"]), default=0))
    config = transformers.LlamaConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=size,
                                      tie_word_embeddings=True, bos_token_id=None, eos_token_id=None)
    transformers.LlamaForCausalLM(config).save_pretrained(str(work / "model"))
    for file in path.glob("*.json"):
        if "cases" not in file.name:
            shutil.copy(file, work / "model")
    run = subprocess.run([SAIL, "export", "gguf", "--model", work / "model", "--output", work / "t.gguf"], capture_output=True, text=True)
    if run.returncode:
        return ["refused"]
    model, right, cases = Model(work / "t.gguf"), 0, 0
    for line in (path / "cases.jsonl").read_text().splitlines():
        case = json.loads(line)
        text = case["text"]
        if case["add_special"] or not case["parse_special"] or "\0" in text or any(c in text for c in "<[\u2581") or text[:1].isspace() or \
                text != unicodedata.normalize("NFC", text):
            continue
        cases += 1
        right += model.tokenize(text) == case["ids"]
    model.close()
    if right < 0.98 * cases: # unicode tables of different years, bytes without a token
        failures.append("%s: %d of %d texts" % (name, right, cases))
    return ["%d of %d texts" % (right, cases)]


def main():
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("error")
    for theirs in (DeprecationWarning, FutureWarning):  # what one library says of another
        warnings.filterwarnings("ignore", category=theirs)
    for package in ("transformers", "peft"):
        logging.getLogger(package).addHandler(Loud())
    names = sys.argv[2:]
    jobs = [(n.name, family) for n in sorted((GOLDEN / "models" / "families").iterdir())] + [("smollm2", None)]
    jobs += [(n.name, tokenizer) for n in sorted((GOLDEN / "text" / "tokenizers").iterdir()) if n.name != "smollm2" or not names]
    print("%-18s" % "" + "".join("%-10s" % x for x in ("hf", "back", "peft", "gguf", "lora", "merged", "q8_0")))
    for name, check in jobs:
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="sail-oracle-") as work:
            cells = smollm2(Path(work)) if check is None else check(name, Path(work))
        print("%-18s" % name + "".join("%-10s" % x for x in cells), flush=True)
    print("\n".join(failures) if failures else "all within their limits")
    return bool(failures)


sys.exit(main())
