/* config_gguf_write.c - a model config as GGUF metadata.
 *
 * A GGUF names an architecture, and most of what a model computes follows from that name alone: so what llama.cpp would compute otherwise
 * is refused here, and what it has no key for but can be put into the weights is (the scale of attention). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hf_config.h"

struct writer {
    const sail__model_config *c;
    sail__gguf_keys *k;
    sail_err *err;
};

static const char *key_of(const struct writer *w, const char *key, char out[160])
{
    snprintf(out, 160, "%s.%s", w->c->family->gguf, key);
    return out;
}

static void integer(const struct writer *w, const char *key, int64_t v)
{
    char name[160];
    sail__gguf_put_u32(w->k, key_of(w, key, name), (uint32_t)v);
}

static void number(const struct writer *w, const char *key, double v)
{
    char name[160];
    sail__gguf_put_f32(w->k, key_of(w, key, name), v);
}

static bool is(const sail__model_config *c, const char *type)
{
    return !strcmp(c->model_type, type);
}

double sail__gguf_factor(const sail__model_config *c, sail__role role)
{
    const bool q = role == (c->qk_norm ? SAIL__ROLE_Q_NORM : SAIL__ROLE_Q);
    return q && sail__later_gemma(c) ? c->attention_scale / sail__gguf_attention_scale(c) : 1;
}

/* ---- what an architecture cannot say ---- */

static sail_code sayable(const sail__model_config *c, sail_err *err)
{
    const bool llama = is(c, "llama"), neox = is(c, "gpt_neox"), phi = is(c, "phi"), gemma = !strncmp(c->model_type, "gemma", 5);
    const bool biased = llama || neox || phi || is(c, "qwen2");
    sail__model_config usual = *c;
    sail__family_rules(&usual);
    const struct {
        bool wrong;
        const char *what;
    } cases[] = {
        {c->labels > 0, "a score head"},
        {c->activation != usual.activation, "an activation that the family usually does not have"},
        {c->qkv_bias && !biased, "biases in attention (attention_bias)"},
        {!c->qkv_bias && (neox || is(c, "qwen2")), "attention without biases"},
        {neox && c->tied, "an output layer that is the embedding (tie_word_embeddings)"},
        {gemma && !is(c, "gemma3_text") && !c->tied, "an output layer of its own (tie_word_embeddings: false)"},
        {is(c, "gemma2") && (c->attention_softcap == 0 || c->final_softcap == 0), "logits that are not capped"},
        {is(c, "gemma3_text") && c->attention_softcap != 0, "capped scores of attention (attn_logit_softcapping)"},
        {c->ropes[0].kind == SAIL__ROPE_LLAMA3 && !llama && !is(c, "mistral"), "rope scaling of the kind llama3"},
        {c->ropes[0].kind == SAIL__ROPE_LONGROPE && !is(c, "phi3"), "rope scaling of the kind longrope"},
        {(llama || is(c, "mistral")) && c->ropes[0].rotary != c->head_dim, "heads of which a part turns (partial_rotary_factor)"},
        {c->n_ropes == 2 && c->ropes[1].kind != SAIL__ROPE_DEFAULT, "rope scaling in layers with a window"},
        {c->n_ropes == 2 && c->ropes[1].rotary != c->ropes[0].rotary, "rotary parts of two sizes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (cases[i].wrong)
            return sail_fail(err, SAIL_E_FORMAT, "GGUF's architecture %s cannot say %s, which this model has; export hf can write it",
                             c->family->gguf, cases[i].what);
    return SAIL_OK;
}

/* ---- windows ---- */

static bool same_windows(const sail__model_config *c, int32_t window, int64_t period)
{
    for (int32_t i = 0; i < c->layers; i++)
        if (c->layer[i].window != sail__gguf_window(window, period, i))
            return false;
    return true;
}

static sail_code windows(const struct writer *w)
{
    const sail__model_config *c = w->c;
    int32_t window = 0;
    int64_t period = c->family->gguf_period;
    for (int32_t i = 0; i < c->layers; i++)
        window = c->layer[i].window ? c->layer[i].window : window;
    for (int64_t p = 2; is(c, "gemma3_text") && !same_windows(c, window, period) && p <= c->layers + 1; p++)
        period = p;
    if (!same_windows(c, window, period) || (period && !window))
        return sail_fail(w->err, SAIL_E_FORMAT,
                         "GGUF's architecture %s has no way to say which of this model's layers have a window; export hf can write it",
                         c->family->gguf);
    if (window)
        integer(w, "attention.sliding_window", window);
    if (is(c, "gemma3_text"))
        integer(w, "attention.sliding_window_pattern", period);
    return SAIL_OK;
}

/* ---- rotation ---- */

static void rope(const struct writer *w)
{
    const sail__model_config *c = w->c;
    const sail__rope *r = &c->ropes[0];
    char name[160];
    number(w, "rope.freq_base", r->theta);
    integer(w, "rope.dimension_count", r->rotary);
    if (c->n_ropes == 2)
        number(w, "rope.freq_base_swa", c->ropes[1].theta);
    if (r->kind == SAIL__ROPE_LINEAR) {
        sail__gguf_put_text(w->k, key_of(w, "rope.scaling.type", name), "linear");
        number(w, "rope.scaling.factor", r->factor);
    } else if (r->kind == SAIL__ROPE_LONGROPE) {
        integer(w, "rope.scaling.original_context_length", r->original_length);
        number(w, "rope.scaling.attn_factor", r->attention_factor);
    }
}

static const float *as_floats(sail_arena *a, const double *v, int32_t n)
{
    float *out = sail__arena_array(a, (size_t)n, sizeof *out);
    for (int32_t i = 0; out && i < n; i++)
        out[i] = (float)v[i];
    return out;
}

/* What llama3 scaling divides each frequency by. */
static const double *llama3(sail_arena *a, const sail__rope *r)
{
    const int32_t n = r->rotary / 2;
    double *scaled = sail__arena_array(a, (size_t)n, sizeof *scaled), *plain = sail__arena_array(a, (size_t)n, sizeof *plain);
    if (!scaled || !plain)
        return NULL;
    sail__rope unscaled = *r;
    unscaled.kind = SAIL__ROPE_DEFAULT;
    sail__rope_frequencies(r, false, scaled);
    sail__rope_frequencies(&unscaled, false, plain);
    for (int32_t i = 0; i < n; i++)
        plain[i] /= scaled[i];
    return plain;
}

sail_code sail__config_divisors(sail_arena *a, const sail__model_config *c, sail__gguf_divisors out[2], size_t *n, sail_err *err)
{
    const sail__rope *r = &c->ropes[0];
    const int32_t half = r->rotary / 2;
    const double *v[2] = {r->divisors, NULL};
    const char *names[2] = {"rope_freqs.weight", NULL};
    *n = 0;
    if (r->kind == SAIL__ROPE_LLAMA3) {
        v[0] = llama3(a, r);
        if (!v[0])
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    } else if (r->kind == SAIL__ROPE_LONGROPE) {
        v[0] = r->long_factor, names[0] = "rope_factors_long.weight";
        v[1] = r->short_factor, names[1] = "rope_factors_short.weight";
    }
    for (; *n < 2 && v[*n]; ++*n) {
        out[*n] = (sail__gguf_divisors){names[*n], as_floats(a, v[*n], half), half};
        if (!out[*n].data)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    return SAIL_OK;
}

/* ---- all ---- */

sail_code sail__config_to_gguf(const sail__model_config *c, sail__gguf_keys *k, sail_err *err)
{
    const struct writer w = {c, k, err};
    char name[160];
    SAIL_TRY(sayable(c, err));
    integer(&w, "block_count", c->layers);
    integer(&w, "context_length", c->max_positions);
    integer(&w, "embedding_length", c->width);
    integer(&w, "feed_forward_length", c->ff);
    integer(&w, "vocab_size", c->vocab);
    integer(&w, "attention.head_count", c->heads);
    integer(&w, "attention.head_count_kv", c->kv_heads);
    integer(&w, "attention.key_length", c->head_dim);
    integer(&w, "attention.value_length", c->head_dim);
    number(&w, c->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", c->norm_eps);
    if (is(c, "gpt_neox"))
        sail__gguf_put_bool(k, key_of(&w, "use_parallel_residual", name), c->parallel);
    if (c->attention_softcap != 0)
        number(&w, "attn_logit_softcapping", c->attention_softcap);
    if (c->final_softcap != 0)
        number(&w, "final_logit_softcapping", c->final_softcap);
    rope(&w);
    return windows(&w);
}
