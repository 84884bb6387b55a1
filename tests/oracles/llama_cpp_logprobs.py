"""llama_cpp_logprobs.py - log-probabilities by llama.cpp, through llama-cpp-python's plain bindings. A module of check_exports."""
import ctypes
import sys

import llama_cpp as L
import numpy as np

F32 = 0  # ggml's number: the cache is not rounded, so that deviations are the model's


def quietly(message):
    @L.llama_log_callback
    def log(level, text, data):
        message.append(text.decode(errors="replace"))
    return log


class Model:
    def __init__(self, path, lora=None):
        self.messages = []
        self.log = quietly(self.messages)
        L.llama_log_set(self.log, ctypes.c_void_p(0))
        L.llama_backend_init()
        params = L.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = L.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            sys.exit("llama.cpp does not load %s:\n%s" % (path, "".join(self.messages[-20:])))
        self.vocab = L.llama_model_get_vocab(self.model)
        self.lora = None
        if lora:
            self.lora = L.llama_adapter_lora_init(self.model, str(lora).encode())
            if not self.lora:
                sys.exit("llama.cpp does not load the adapter %s:\n%s" % (lora, "".join(self.messages[-20:])))

    def logprobs(self, ids):
        """[n - 1] log-probability of each token given those before."""
        params = L.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(len(ids), 32)
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = F32
        params.swa_full = False
        params.flash_attn_type = 0
        context = L.llama_init_from_model(self.model, params)
        if self.lora:
            one = (L.llama_adapter_lora_p_ctypes * 1)(self.lora)
            L.llama_set_adapters_lora(context, one, 1, (ctypes.c_float * 1)(1.0))
        batch = L.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        if L.llama_decode(context, batch):
            sys.exit("llama.cpp does not decode:\n%s" % "".join(self.messages[-20:]))
        width = L.llama_vocab_n_tokens(self.vocab)
        rows = np.stack([np.ctypeslib.as_array(L.llama_get_logits_ith(context, i), (width,)).astype(np.float64) for i in range(len(ids))])
        L.llama_batch_free(batch)
        L.llama_free(context)
        top = rows.max(-1, keepdims=True)
        logp = rows - top - np.log(np.exp(rows - top).sum(-1, keepdims=True))
        return np.array([logp[i, t] for i, t in enumerate(ids[1:])])

    def tokenize(self, text, special=True):
        raw = text.encode()
        room = (ctypes.c_int32 * (len(raw) + 16))()
        n = L.llama_tokenize(self.vocab, raw, len(raw), room, len(room), False, special)
        return list(room[:n])

    def close(self):
        L.llama_model_free(self.model)
