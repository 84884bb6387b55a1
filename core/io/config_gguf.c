/* config_gguf.c - a model config from GGUF metadata (architectures llama and qwen2). */
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

static void refused(struct reader *r)
{
    static const char *const keys[] = {"expert_count",           "attention.scale", "logit_scale",
                                       "residual_scale",         "embedding_scale", "attn_logit_softcapping",
                                       "final_logit_softcapping"};
    char name[160];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && r->code == SAIL_OK; i++) {
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

/* rope_freqs.weight: the numbers by which frequencies are divided (llama3 scaling, worked out). */
static void divisors(struct reader *r, sail_arena *a, sail__rope *rope)
{
    const sail__gguf_tensor *t = sail__gguf_find(r->g, "rope_freqs.weight");
    if (!t || r->code != SAIL_OK)
        return;
    const char *path = sail__gguf_path(r->g);
    char shape[120];
    if (t->dtype != SAIL_F32 || t->rank != 1 || t->cols != rope->rotary / 2) {
        r->code = sail_fail(r->err, SAIL_E_SHAPE, "%s: tensor rope_freqs.weight is %s %s; F32 [%d] was expected", path,
                            t->type_name, sail__gguf_shape(t, shape, sizeof shape), rope->rotary / 2);
        return;
    }
    double *d = sail__arena_array(a, (size_t)t->cols, sizeof *d);
    for (int64_t i = 0; d && i < t->cols; i++) {
        float f;
        memcpy(&f, (const char *)t->data + i * 4, 4);
        d[i] = f;
        if (!(f > 0 && f < 1e30f))
            r->code = sail_fail(r->err, SAIL_E_FORMAT,
                                "%s: tensor rope_freqs.weight[%lld] is %g; a positive number was "
                                "expected",
                                path, (long long)i, (double)f);
    }
    if (!d)
        r->code = sail_fail(r->err, SAIL_E_NOMEM, "%s: no memory for rope_freqs.weight", path);
    rope->divisors = d;
}

static void rope(struct reader *r, sail_arena *a, sail__model_config *c)
{
    static const double usual_theta = 1e4, one = 1;
    const char *kind = "none";
    char name[160];
    c->n_ropes = 1;
    c->ropes[0] =
        (sail__rope){.kind = SAIL__ROPE_DEFAULT, .attention_factor = 1, .factor = 1, .low_freq = 1, .high_freq = 1};
    c->ropes[0].theta = number(r, "rope.freq_base", &usual_theta);
    c->ropes[0].rotary = (int32_t)integer(r, "rope.dimension_count", c->head_dim, MOST);
    if (r->code == SAIL_OK)
        r->code = sail__gguf_text(r->g, key_of(r, "rope.scaling.type", name), "none", false, &kind, r->err);
    if (r->code != SAIL_OK)
        return;
    if (!strcmp(kind, "linear")) {
        c->ropes[0].kind = SAIL__ROPE_LINEAR;
        c->ropes[0].factor = number(r, "rope.scaling.factor", NULL);
        if (r->code == SAIL_OK && c->ropes[0].factor <= 0)
            r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s.rope.scaling.factor should be positive",
                                sail__gguf_path(r->g), r->arch);
    } else if (strcmp(kind, "none")) {
        r->code =
            sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s: rope scaling \"%.40s\" is not supported; none and linear are",
                      sail__gguf_path(r->g), name, kind);
    } else if (number(r, "rope.scaling.attn_factor", &one) != 1 && r->code == SAIL_OK) {
        r->code = sail_fail(r->err, SAIL_E_FORMAT, "%s: key %s.rope.scaling.attn_factor is not supported",
                            sail__gguf_path(r->g), r->arch);
    }
    divisors(r, a, &c->ropes[0]);
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
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
    c->bos_id = token(r, "tokenizer.ggml.bos_token_id");
    c->pad_id = token(r, "tokenizer.ggml.padding_token_id");
    for (int i = 0; i < 2; i++) {
        int32_t id = token(r, ends[i]);
        if (id >= 0 && !(c->n_end_ids && c->end_ids[0] == id))
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

sail_code sail__config_from_gguf(sail_arena *a, const sail__gguf *g, sail__model_config *c, sail_err *err)
{
    struct reader r = {g, "", err, SAIL_OK};
    const char *path = sail__gguf_path(g);
    *c = (sail__model_config){.bos_id = -1, .pad_id = -1};
    SAIL_TRY(sail__gguf_text(g, "general.architecture", NULL, true, &r.arch, err));
    c->family = strlen(r.arch) < 64 ? sail__family_by_gguf(r.arch) : NULL;
    if (!c->family)
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: general.architecture: \"%.60s\" is not supported; llama and qwen2 are", path, r.arch);
    refused(&r);
    c->width = (int32_t)integer(&r, "embedding_length", 0, MOST);
    c->layers = (int32_t)integer(&r, "block_count", 0, MOST);
    c->heads = (int32_t)integer(&r, "attention.head_count", 0, MOST);
    c->kv_heads = (int32_t)integer(&r, "attention.head_count_kv", c->heads, MOST);
    c->ff = (int32_t)integer(&r, "feed_forward_length", 0, MOST);
    c->max_positions = integer(&r, "context_length", 0, INT32_MAX);
    const sail__gguf_tensor *embed = sail__gguf_find(g, "token_embd.weight");
    c->vocab = (int32_t)integer(&r, "vocab_size", embed && embed->rows > 0 ? embed->rows : 0, MOST);
    if (r.code == SAIL_OK && !sail__gguf_get(g, key_of(&r, "attention.key_length", (char[160]){0})) &&
        c->width % c->heads)
        return sail_fail(err, SAIL_E_FORMAT, "%s: key %s.embedding_length should be a multiple of the number of heads",
                         path, r.arch);
    c->head_dim = (int32_t)integer(&r, "attention.key_length", c->width / c->heads > 0 ? c->width / c->heads : 1, MOST);
    if (integer(&r, "attention.value_length", c->head_dim, MOST) != c->head_dim && r.code == SAIL_OK)
        return sail_fail(err, SAIL_E_FORMAT, "%s: key %s.attention.value_length differs from the key length", path,
                         r.arch);
    c->norm_eps = number(&r, "attention.layer_norm_rms_epsilon", NULL);
    c->qkv_bias = has(&r, SAIL__ROLE_Q_BIAS);
    c->o_bias = has(&r, SAIL__ROLE_O_BIAS);
    c->mlp_bias = has(&r, SAIL__ROLE_GATE_BIAS);
    c->gated = true;
    c->activation = SAIL_ACT_SILU;
    c->embed_scale = 1;
    c->attention_scale = 1 / sqrt((double)c->head_dim);
    c->tied = !sail__gguf_find(g, "output.weight");
    rope(&r, a, c);
    ids(&r, c);
    c->dtype = dtype(g);

    int64_t window = 0, none = 0;
    char name[160];
    if (r.code == SAIL_OK)
        r.code = sail__gguf_int(g, key_of(&r, "attention.sliding_window", name), &none, &window, err);
    if (r.code == SAIL_OK && (window < 0 || window > INT32_MAX))
        r.code = sail_fail(err, SAIL_E_FORMAT, "%s: key %s is out of range", path, name);
    if (r.code != SAIL_OK)
        return r.code;
    if (window && !strcmp(r.arch, "llama")) /* Mistral is architecture llama with a window */
        c->family = sail__family_by_type("mistral");
    c->model_type = c->family->model_type;
    c->architecture = sail__arena_printf(a, "%sForCausalLM", c->family->architecture);
    SAIL_TRY(sail__config_check(c, path, err));
    sail__layer_config *layer = sail__arena_array(a, (size_t)c->layers, sizeof *layer);
    if (!layer || !c->architecture)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its config", path);
    for (int i = 0; i < c->layers; i++)
        layer[i].window = (int32_t)window;
    c->layer = layer;
    return SAIL_OK;
}
