/* config_gguf.c - a model config from GGUF metadata. What a key leaves open is what llama.cpp takes for that architecture. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_config.h"

struct reader {
    const sail__gguf *g;
    const char *arch;
    sail_err *err;
    sail_code code;
};

enum { MOST = 1 << 24 };

static const char *key_of(const struct reader *r, const char *key, char out[160])
{
    snprintf(out, 160, "%s.%s", r->arch, key);
    return out;
}

/* fallback 0: required. */
static int64_t integer(struct reader *r, const char *key, int64_t fallback, int64_t most)
{
    char name[160];
    int64_t v = fallback;
    if (r->code == SAIL_OK)
        r->code = sail__gguf_int(r->g, key_of(r, key, name), fallback ? &fallback : NULL, &v, r->err);
    if (r->code == SAIL_OK && (v < 1 || v > most))
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s is %lld; 1 to %lld was expected", sail__gguf_path(r->g),
                            name, (long long)v, (long long)most);
    return r->code == SAIL_OK ? v : 1;
}

/* GGUF keeps float32: the shortest decimal that gives it back is what config.json had (1e-5, not 9.99999975e-6). */
static double shortest(double v)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if ((float)strtod(text, NULL) == (float)v)
            return strtod(text, NULL);
    }
    return v;
}

static double number(struct reader *r, const char *key, const double *fallback)
{
    char name[160];
    double v = 0;
    if (r->code == SAIL_OK)
        r->code = sail__gguf_double(r->g, key_of(r, key, name), fallback, &v, r->err);
    if (r->code == SAIL_OK && !(v >= 0 && v < 1e30))
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s: a non-negative number was expected",
                            sail__gguf_path(r->g), name);
    return r->code == SAIL_OK ? shortest(v) : 1;
}

static bool has(const struct reader *r, sail__role role)
{
    char name[128];
    return sail__gguf_name(role, 0, name, sizeof name) && sail__gguf_find(r->g, name);
}

static void refused(struct reader *r, const sail__model_config *c)
{
    static const char *const keys[] = {"attn_logit_softcapping", "final_logit_softcapping", "expert_count",   "attention.scale",
                                       "logit_scale",            "residual_scale",          "embedding_scale"};
    char name[160];
    for (size_t i = sail__later_gemma(c) ? 2 : 0; i < sizeof keys / sizeof keys[0] && r->code == SAIL_OK; i++) {
        const sail__gguf_kv *kv = sail__gguf_get(r->g, key_of(r, keys[i], name));
        if (kv && sail__gguf_double_at(kv, 0) != 0)
            r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s is not supported", sail__gguf_path(r->g), name);
    }
    if (r->code == SAIL_OK && sail__gguf_get(r->g, "split.count") &&
        sail__gguf_int_at(sail__gguf_get(r->g, "split.count"), 0) > 1)
        r->code = sail_fail(r->err, SAIL_E_FORMAT,
                            "%s: split.count: a GGUF in several files is not supported; merge them with "
                            "llama-gguf-split",
                            sail__gguf_path(r->g));
}

/* Numbers by which frequencies are divided; NULL where the file has no such tensor. */
static const double *divisors(struct reader *r, sail_arena *a, const sail__rope *rope, const char *name)
{
    const sail__gguf_tensor *t = sail__gguf_find(r->g, name);
    if (!t || r->code != SAIL_OK)
        return NULL;
    const char *path = sail__gguf_path(r->g);
    char shape[120];
    if (t->dtype != SAIL_F32 || t->rank != 1 || t->cols != rope->rotary / 2) {
        r->code = sail_fail(r->err, SAIL_E_SHAPE, "%s: tensor %s is %s %s; F32 [%d] was expected", path, name, t->type_name,
                            sail__gguf_shape(t, shape, sizeof shape), rope->rotary / 2);
        return NULL;
    }
    double *d = sail__arena_array(a, (size_t)t->cols, sizeof *d);
    for (int64_t i = 0; d && i < t->cols; i++) {
        float f;
        memcpy(&f, (const char *)t->data + i * 4, 4);
        d[i] = f;
        if (!(f > 0 && f < 1e30f))
            r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: tensor %s[%lld] is %g; a positive number was expected", path, name, (long long)i,
                                (double)f);
    }
    if (!d)
        r->code = sail_fail(r->err, SAIL_E_NOMEM, "%s: no memory for %s", path, name);
    return d;
}

/* Phi-3's two sets of divisors: the long ones for sequences beyond the length it was first trained on. */
static void longrope(struct reader *r, sail_arena *a, const sail__model_config *c, sail__rope *rope)
{
    static const double one = 1;
    rope->short_factor = divisors(r, a, rope, "rope_factors_short.weight");
    rope->long_factor = divisors(r, a, rope, "rope_factors_long.weight");
    if (!rope->short_factor && !rope->long_factor)
        return;
    if (r->code == SAIL_OK && (!rope->short_factor || !rope->long_factor))
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: tensor rope_factors_%s.weight is missing; the other is there", sail__gguf_path(r->g),
                            rope->short_factor ? "long" : "short");
    rope->kind = SAIL__ROPE_LONGROPE;
    rope->original_length = integer(r, "rope.scaling.original_context_length", c->max_positions, INT32_MAX);
    rope->attention_factor = number(r, "rope.scaling.attn_factor", &one);
}

static void rope(struct reader *r, sail_arena *a, sail__model_config *c)
{
    static const double usual_theta = 1e4, one = 1;
    const char *kind = "none";
    char name[160];
    sail__rope *p = &c->ropes[0];
    c->n_ropes = 1;
    *p = (sail__rope){.kind = SAIL__ROPE_DEFAULT, .attention_factor = 1, .factor = 1, .low_freq = 1, .high_freq = 1};
    p->theta = number(r, "rope.freq_base", &usual_theta);
    p->rotary = (int32_t)integer(r, "rope.dimension_count", c->head_dim, MOST);
    if (!strcmp(c->model_type, "phi3"))
        longrope(r, a, c, p);
    if (r->code == SAIL_OK)
        r->code = sail__gguf_text(r->g, key_of(r, "rope.scaling.type", name), "none", false, &kind, r->err);
    if (r->code != SAIL_OK)
        return;
    const bool known = !strcmp(kind, "none") || !strcmp(kind, "linear") || (!strcmp(kind, "longrope") && p->kind == SAIL__ROPE_LONGROPE);
    if (!known) {
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s: rope scaling \"%.40s\" is not supported; none, linear and phi3's longrope are",
                            sail__gguf_path(r->g), name, kind);
    } else if (!strcmp(kind, "linear")) {
        p->kind = SAIL__ROPE_LINEAR;
        p->factor = number(r, "rope.scaling.factor", NULL);
        if (r->code == SAIL_OK && p->factor <= 0)
            r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s.rope.scaling.factor should be positive", sail__gguf_path(r->g), r->arch);
    } else if (p->kind != SAIL__ROPE_LONGROPE && number(r, "rope.scaling.attn_factor", &one) != 1 && r->code == SAIL_OK) {
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s.rope.scaling.attn_factor is not supported", sail__gguf_path(r->g), r->arch);
    }
    p->divisors = divisors(r, a, p, "rope_freqs.weight");
    if (strcmp(c->model_type, "gemma3_text"))
        return;
    c->n_ropes = 2; /* layers with a window turn by a base of their own, unscaled */
    c->ropes[1] = (sail__rope){.kind = SAIL__ROPE_DEFAULT, .attention_factor = 1, .factor = 1, .low_freq = 1, .high_freq = 1, .rotary = p->rotary};
    c->ropes[1].theta = number(r, "rope.freq_base_swa", &usual_theta);
}

static int32_t token(struct reader *r, const char *key)
{
    int64_t none = -1, v = -1;
    if (r->code == SAIL_OK)
        r->code = sail__gguf_int(r->g, key, &none, &v, r->err);
    return v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

static void ids(struct reader *r, sail__model_config *c)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    c->bos_id = token(r, "tokenizer.ggml.bos_token_id");
    c->pad_id = token(r, "tokenizer.ggml.padding_token_id");
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const int32_t id = token(r, ends[i]);
        bool known = id < 0;
        for (int k = 0; k < c->n_end_ids; k++)
            known |= c->end_ids[k] == id;
        if (!known)
            c->end_ids[c->n_end_ids++] = id;
    }
}

/* The dtype of most matrix elements; of a quantised file F16. */
static sail_dtype dtype(const sail__gguf *g)
{
    int64_t n[SAIL_DTYPE_COUNT + 1] = {0};
    int most = SAIL_F32;
    for (size_t i = 0; sail__gguf_at(g, i); i++)
        if (sail__gguf_at(g, i)->rank > 1)
            n[sail__gguf_at(g, i)->dtype] += sail__gguf_at(g, i)->rows * sail__gguf_at(g, i)->cols;
    for (int t = 0; t <= SAIL_DTYPE_COUNT; t++)
        most = n[t] > n[most] ? t : most;
    return most == SAIL_F32 || most == SAIL_BF16 || most == SAIL_F64 ? (sail_dtype)most : SAIL_F16;
}

double sail__gguf_attention_scale(const sail__model_config *c)
{
    const bool largest = (!strcmp(c->model_type, "gemma2") && c->layers == 46) || (!strcmp(c->model_type, "gemma3_text") && c->layers == 62);
    return 1 / sqrt(largest ? (double)c->width / c->heads : (double)c->head_dim);
}

int32_t sail__gguf_window(int32_t window, int64_t period, int32_t layer)
{
    return period && (layer + 1) % period == 0 ? 0 : window;
}

static void sizes(struct reader *r, sail__model_config *c)
{
    c->width = (int32_t)integer(r, "embedding_length", 0, MOST);
    c->layers = (int32_t)integer(r, "block_count", 0, MOST);
    c->heads = (int32_t)integer(r, "attention.head_count", 0, MOST);
    c->kv_heads = (int32_t)integer(r, "attention.head_count_kv", c->heads, MOST);
    c->ff = (int32_t)integer(r, "feed_forward_length", 0, MOST);
    c->max_positions = integer(r, "context_length", 0, INT32_MAX);
    const sail__gguf_tensor *embed = sail__gguf_find(r->g, "token_embd.weight");
    c->vocab = (int32_t)integer(r, "vocab_size", embed && embed->rows > 0 ? embed->rows : 0, MOST);
    if (r->code == SAIL_OK && !sail__gguf_get(r->g, key_of(r, "attention.key_length", (char[160]){0})) && c->width % c->heads)
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s.embedding_length should be a multiple of the number of heads",
                            sail__gguf_path(r->g), r->arch);
    c->head_dim = (int32_t)integer(r, "attention.key_length", c->width / c->heads > 0 ? c->width / c->heads : 1, MOST);
    if (integer(r, "attention.value_length", c->head_dim, MOST) != c->head_dim && r->code == SAIL_OK)
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s.attention.value_length differs from the key length", sail__gguf_path(r->g),
                            r->arch);
}

static void computation(struct reader *r, sail__model_config *c)
{
    static const double gemma2_attention = 50, gemma2_final = 30, none = 0;
    const bool parallel = true, gemma2 = !strcmp(c->model_type, "gemma2");
    char name[160];
    sail__family_rules(c);
    c->norm_eps = number(r, c->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", NULL);
    c->qkv_bias = has(r, c->fused_qkv ? SAIL__ROLE_QKV_BIAS : SAIL__ROLE_Q_BIAS) || has(r, SAIL__ROLE_QKV_BIAS);
    c->o_bias = has(r, SAIL__ROLE_O_BIAS);
    c->mlp_bias = has(r, SAIL__ROLE_DOWN_BIAS);
    c->tied = !sail__gguf_find(r->g, "output.weight");
    if (!strcmp(c->model_type, "gpt_neox") && r->code == SAIL_OK)
        r->code = sail__gguf_bool(r->g, key_of(r, "use_parallel_residual", name), &parallel, &c->parallel, r->err);
    if (sail__later_gemma(c)) {
        c->attention_scale = sail__gguf_attention_scale(c);
        c->attention_softcap = number(r, "attn_logit_softcapping", gemma2 ? &gemma2_attention : &none);
        c->final_softcap = number(r, "final_logit_softcapping", gemma2 ? &gemma2_final : &none);
    }
}

static void layers(struct reader *r, sail_arena *a, sail__model_config *c)
{
    const int64_t usual = !strcmp(c->model_type, "gemma2") ? 4096 : 0;
    int64_t window = 0, period = c->family->gguf_period;
    char name[160];
    if (r->code == SAIL_OK)
        r->code = sail__gguf_int(r->g, key_of(r, "attention.sliding_window", name), &usual, &window, r->err);
    if (r->code == SAIL_OK && (window < 0 || window > INT32_MAX))
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s is out of range", sail__gguf_path(r->g), name);
    if (period)
        period = integer(r, "attention.sliding_window_pattern", period, MOST);
    if (r->code != SAIL_OK)
        return;
    if (window && !strcmp(c->model_type, "llama")) { /* Mistral is architecture llama with a window */
        c->family = sail__family_by_type("mistral");
        c->model_type = c->family->model_type;
    }
    sail__layer_config *layer = sail__arena_array(a, (size_t)c->layers, sizeof *layer);
    for (int32_t i = 0; layer && i < c->layers; i++) {
        layer[i].window = sail__gguf_window((int32_t)window, period, i);
        layer[i].rope = c->n_ropes == 2 && layer[i].window;
    }
    c->layer = layer;
    c->architecture = sail__arena_printf(a, "%sForCausalLM", c->family->architecture);
    if (!layer || !c->architecture)
        r->code = sail_fail(r->err, SAIL_E_NOMEM, "%s: no memory for its config", sail__gguf_path(r->g));
}

static sail_code unknown(const sail__gguf *g, const char *arch, sail_err *err)
{
    sail_buf known = {0};
    for (size_t i = 0; sail__family_at(i); i++)
        if (sail__family_by_gguf(sail__family_at(i)->gguf) == sail__family_at(i))
            sail__buf_printf(&known, i ? ", %s" : "%s", sail__family_at(i)->gguf);
    sail_code code = sail_fail(err, SAIL_E_FORMAT, "%s: general.architecture: \"%.60s\" is not supported; known are %s", sail__gguf_path(g), arch,
                               known.data ? known.data : "");
    sail__buf_free(&known);
    return code;
}

sail_code sail__config_from_gguf(sail_arena *a, const sail__gguf *g, sail__model_config *c, sail_err *err)
{
    struct reader r = {g, "", err, SAIL_OK};
    *c = (sail__model_config){.bos_id = -1, .pad_id = -1};
    const char *type;
    SAIL_TRY(sail__gguf_text(g, "general.type", "model", false, &type, err));
    if (strcmp(type, "adapter") == 0)
        return sail_fail(err, SAIL_E_FORMAT, "%s: is an adapter (general.type), and a model is wanted: adapters are read from the directories that PEFT "
                         "writes", sail__gguf_path(g));
    SAIL_TRY(sail__gguf_text(g, "general.architecture", NULL, true, &r.arch, err));
    c->family = strlen(r.arch) < 64 ? sail__family_by_gguf(r.arch) : NULL;
    if (!c->family)
        return unknown(g, r.arch, err);
    c->model_type = c->family->model_type;
    refused(&r, c);
    sizes(&r, c);
    computation(&r, c);
    rope(&r, a, c);
    ids(&r, c);
    c->dtype = dtype(g);
    SAIL_TRY(r.code);
    SAIL_TRY(sail__config_check(c, sail__gguf_path(g), err));
    layers(&r, a, c);
    return r.code;
}
