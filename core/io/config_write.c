/* config_write.c - a model config as config.json and generation_config.json. */
#include <math.h>
#include <string.h>

#include "hf_config.h"

static const char origin[] = "generated";

struct writer {
    sail_arena *arena;
    bool failed; /* out of memory */
};

static sail_node *node(struct writer *w, sail_node_kind kind)
{
    sail_node *n = sail__node_new(w->arena, kind, origin, 0, 0);
    w->failed |= !n;
    return n;
}

static void put(struct writer *w, sail_node *map, const char *key, sail_node *value)
{
    if (!map || !value || !sail__node_set(w->arena, map, key, value))
        w->failed = true;
}

static void integer(struct writer *w, sail_node *map, const char *key, int64_t v)
{
    sail_node *n = node(w, SAIL_NODE_INT);
    if (n)
        n->integer = v;
    put(w, map, key, n);
}

static void number(struct writer *w, sail_node *map, const char *key, double v)
{
    sail_node *n = node(w, SAIL_NODE_FLOAT);
    if (n)
        n->number = v;
    put(w, map, key, n);
}

static void boolean(struct writer *w, sail_node *map, const char *key, bool v)
{
    sail_node *n = node(w, SAIL_NODE_BOOL);
    if (n)
        n->boolean = v;
    put(w, map, key, n);
}

static void text(struct writer *w, sail_node *map, const char *key, const char *v)
{
    put(w, map, key, v ? sail__node_string(w->arena, v, origin) : NULL);
}

/* ---- rope_freqs back into llama3 scaling ---- */

static bool same_frequencies(const sail__rope *a, const sail__rope *b, double *x, double *y)
{
    sail__rope_frequencies(a, false, x);
    sail__rope_frequencies(b, false, y);
    for (int32_t i = 0; i < a->rotary / 2; i++)
        if (fabs(x[i] / y[i] - 1) > 1e-5)
            return false;
    return true;
}

/* 1/divisor is 1, then falls linearly in 1/wavelength, then stays 1/factor: how much of the way down from 1/factor to 1, as slope / wavelength
 * - below, within 0 and 1. */
struct ramp {
    double slope, below;
};

/* Any that the points allow: those on the ramp lie on its line, at x0 it is not begun yet, at x1 (0: none) it is at its end. The usual factors
 * 1 and 4 make below 1/3. */
static struct ramp ramp_through(const double first[2], const double last[2], int points, double x0, double x1)
{
    if (points > 1) {
        const double slope = (last[1] - first[1]) / (last[0] - first[0]);
        return (struct ramp){slope, slope * first[0] - first[1]};
    }
    struct ramp usual = {points ? (first[1] + 1. / 3) / first[0] : 0, 1. / 3};
    if (points && usual.slope * x0 <= usual.below && (x1 == 0 || usual.slope * x1 - usual.below >= 1))
        return usual;
    if (points) { /* the flattest through the point that is at its end, and has begun, in time */
        const double to_end = x1 > 0 ? (1 - first[1]) / (x1 - first[0]) : 0, to_begin = first[1] / (first[0] - x0);
        const double slope = to_end > to_begin ? to_end : to_begin;
        return (struct ramp){slope, slope * first[0] - first[1]};
    }
    return x1 == 0 ? (struct ramp){1. / 3 / x0, 1. / 3} : (struct ramp){1 / (x1 - x0), x0 / (x1 - x0)};
}

static bool llama3_from_divisors(sail_arena *a, const sail__rope *rope, sail__rope *out)
{
    static const double two_pi = 6.283185307179586476925286766559;
    int32_t n = rope->rotary / 2;
    double *x = sail__arena_array(a, (size_t)n, sizeof *x), *y = sail__arena_array(a, (size_t)n, sizeof *y);
    double factor = 1, first[2] = {0}, last[2] = {0}, x0 = 0, x1 = 0;
    int points = 0;
    if (!x || !y)
        return false;
    sail__rope plain = *rope;
    plain.divisors = NULL;
    sail__rope_frequencies(&plain, false, x);
    for (int32_t i = 0; i < n; i++)
        factor = rope->divisors[i] > factor ? rope->divisors[i] : factor;
    *out = plain;
    if (factor == 1)
        return same_frequencies(rope, out, x, y);
    for (int32_t i = 0; i < n; i++) {
        double d = rope->divisors[i], at[2] = {x[i] / two_pi, (1 / d - 1 / factor) / (1 - 1 / factor)};
        if (at[1] < 1e-4)
            x0 = at[0] > x0 ? at[0] : x0;
        else if (at[1] > 1 - 1e-4)
            x1 = x1 == 0 || at[0] < x1 ? at[0] : x1;
        else
            memcpy(points++ ? last : first, at, sizeof at);
    }
    const struct ramp r = ramp_through(first, last, points, x0, x1);
    out->kind = SAIL__ROPE_LLAMA3;
    out->factor = round(factor * 1e4) / 1e4;
    /* Length and factors are known up to a common multiple. The usual low_freq_factor is 1; where that makes no whole length, a usual one. */
    const double high = 1 + 1 / r.below, length = r.slope / r.below;
    for (int whole = 0; whole < 2; whole++) {
        const double own = whole ? 8192 : round(length);
        out->low_freq = whole ? r.below * own / r.slope : 1;
        out->high_freq = whole ? (1 + r.below) * own / r.slope : fabs(high - round(high)) < 1e-2 ? round(high) : high;
        if (!(own >= 1 && own < 1e9 && out->low_freq > 0 && out->high_freq > out->low_freq))
            continue;
        out->original_length = (int64_t)own;
        if (same_frequencies(rope, out, x, y))
            return true;
    }
    return false;
}

static void numbers(struct writer *w, sail_node *map, const char *key, const double *v, int32_t n)
{
    sail_node *list = node(w, SAIL_NODE_LIST);
    for (int32_t i = 0; list && i < n; i++) {
        sail_node *x = node(w, SAIL_NODE_FLOAT);
        if (x)
            x->number = v[i];
        w->failed |= !x || !sail__node_append(w->arena, list, x);
    }
    put(w, map, key, list);
}

/* The part of a head that turns, as a factor of which readers get that many entries back. */
static double part(const sail__model_config *c, const sail__rope *r)
{
    double p = (double)r->rotary / c->head_dim;
    return (int32_t)(c->head_dim * p) < r->rotary ? nextafter(p, 2) : p;
}

static bool usual_factor(const sail__model_config *c, const sail__rope *r)
{
    const double ratio = (double)c->max_positions / (double)r->original_length;
    const double usual = ratio > 1 ? sqrt(1 + log(ratio) / log((double)r->original_length)) : 1;
    return fabs(r->attention_factor / usual - 1) < 1e-6; /* a GGUF has it in float32 */
}

/* now: as transformers 5 has it; else the keys that version 4 allows. */
static sail_node *rope_map(struct writer *w, const sail__model_config *c, const sail__rope *r, bool now)
{
    static const char *const kinds[] = {[SAIL__ROPE_DEFAULT] = "default", [SAIL__ROPE_LINEAR] = "linear", [SAIL__ROPE_LLAMA3] = "llama3",
                                        [SAIL__ROPE_LONGROPE] = "longrope"};
    const bool longrope = r->kind == SAIL__ROPE_LONGROPE;
    sail_node *map = node(w, SAIL_NODE_MAP);
    text(w, map, longrope && !now ? "type" : "rope_type", kinds[r->kind]);
    if (r->kind == SAIL__ROPE_LINEAR || r->kind == SAIL__ROPE_LLAMA3)
        number(w, map, "factor", r->factor);
    if (r->kind == SAIL__ROPE_LLAMA3) {
        number(w, map, "low_freq_factor", r->low_freq);
        number(w, map, "high_freq_factor", r->high_freq);
    }
    if (longrope) {
        numbers(w, map, "short_factor", r->short_factor, r->rotary / 2);
        numbers(w, map, "long_factor", r->long_factor, r->rotary / 2);
    }
    if (r->kind == SAIL__ROPE_LLAMA3 || (longrope && now))
        integer(w, map, "original_max_position_embeddings", r->original_length);
    if (longrope && now && !usual_factor(c, r))
        number(w, map, "attention_factor", r->attention_factor);
    if (now) {
        number(w, map, "rope_theta", r->theta);
        if (r->rotary != c->head_dim)
            number(w, map, "partial_rotary_factor", part(c, r));
    }
    return map;
}

#define AMONG(types) sail__among(c->model_type, types, sizeof types / sizeof types[0])

static sail_code rope(struct writer *w, const sail__model_config *c, sail_node *root, sail_err *err)
{
    static const char *const partly[] = {"gpt_neox", "phi", "phi3"}; /* transformers turns whole heads of the others, whatever the config says */
    const bool neox = !strcmp(c->model_type, "gpt_neox");
    sail__rope r = c->ropes[0];
    if (r.rotary != c->head_dim && !AMONG(partly))
        return sail_fail(err, SAIL_E_FORMAT, "%d of the %d entries of a head turn (rope.dimension_count), which a config.json of family %s cannot say",
                         r.rotary, c->head_dim, c->model_type);
    if (r.divisors && !llama3_from_divisors(w->arena, &c->ropes[0], &r))
        return sail_fail(err, SAIL_E_FORMAT,
                         "the divisors of rope_freqs.weight come from no llama3 scaling: config.json "
                         "cannot say them; export to GGUF");
    sail_node *parameters = rope_map(w, c, &r, true);
    if (c->n_ropes == 2) {
        sail_node *by_layer = node(w, SAIL_NODE_MAP);
        put(w, by_layer, "full_attention", parameters);
        put(w, by_layer, "sliding_attention", rope_map(w, c, &c->ropes[1], true));
        parameters = by_layer;
        number(w, root, "rope_local_base_freq", c->ropes[1].theta);
    }
    put(w, root, "rope_parameters", parameters);
    put(w, root, "rope_scaling", r.kind == SAIL__ROPE_DEFAULT ? node(w, SAIL_NODE_NULL) : rope_map(w, c, &r, false));
    number(w, root, neox ? "rotary_emb_base" : "rope_theta", r.theta);
    if (neox || !strcmp(c->model_type, "phi") || r.rotary != c->head_dim)
        number(w, root, neox ? "rotary_pct" : "partial_rotary_factor", part(c, &r));
    if (r.kind == SAIL__ROPE_LONGROPE)
        integer(w, root, "original_max_position_embeddings", r.original_length);
    return SAIL_OK;
}

static void windows(struct writer *w, const sail__model_config *c, sail_node *root)
{
    static const char *const windowless[] = {"llama", "gemma", "gpt_neox", "phi"}, *const alike[] = {"mistral", "phi3"};
    static const char *const by_depth[] = {"qwen2", "qwen3"};
    int32_t window = 0, first = c->layers;
    for (int32_t i = c->layers - 1; i >= 0; i--)
        if (c->layer[i].window)
            window = c->layer[i].window, first = i;
    if (AMONG(windowless))
        return;
    sail_node *n = node(w, window ? SAIL_NODE_INT : SAIL_NODE_NULL);
    if (n && window)
        n->integer = window;
    put(w, root, "sliding_window", n);
    if (AMONG(alike))
        return;
    if (AMONG(by_depth)) {
        boolean(w, root, "use_sliding_window", window != 0);
        integer(w, root, "max_window_layers", first);
    }
    sail_node *types = node(w, SAIL_NODE_LIST);
    for (int32_t i = 0; types && i < c->layers; i++)
        w->failed |= !sail__node_append(
            w->arena, types,
            sail__node_string(w->arena, c->layer[i].window ? "sliding_attention" : "full_attention", origin));
    put(w, root, "layer_types", types);
}

/* What of the computation is not said by the family alone. */
static void computation(struct writer *w, const sail__model_config *c, sail_node *root)
{
    static const char *const activations[] = {[SAIL_ACT_SILU] = "silu", [SAIL_ACT_GELU] = "gelu", [SAIL_ACT_RELU] = "relu",
                                              [SAIL_ACT_GELU_TANH] = "gelu_pytorch_tanh"};
    static const char *const biased[] = {"llama", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt_neox"};
    const bool later_gemma = sail__later_gemma(c);
    const bool phi = !strcmp(c->model_type, "phi");
    text(w, root, later_gemma ? "hidden_activation" : "hidden_act",
         phi && c->activation == SAIL_ACT_GELU_TANH ? "gelu_new" : activations[c->activation]);
    number(w, root, c->layer_norm ? "layer_norm_eps" : "rms_norm_eps", c->norm_eps);
    if (AMONG(biased))
        boolean(w, root, "attention_bias", c->qkv_bias);
    if (!strcmp(c->model_type, "llama"))
        boolean(w, root, "mlp_bias", c->mlp_bias);
    if (!strcmp(c->model_type, "gpt_neox"))
        boolean(w, root, "use_parallel_residual", c->parallel);
    if (!later_gemma)
        return;
    const double scalar = 1 / (c->attention_scale * c->attention_scale);
    if (fabs(scalar - round(scalar)) < 1e-6) /* transformers wants an integer */
        integer(w, root, "query_pre_attn_scalar", (int64_t)round(scalar));
    else
        number(w, root, "query_pre_attn_scalar", scalar);
    const double caps[] = {c->attention_softcap, c->final_softcap};
    static const char *const keys[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    for (int i = 0; i < 2; i++)
        if (caps[i] != 0)
            number(w, root, keys[i], caps[i]);
        else
            put(w, root, keys[i], node(w, SAIL_NODE_NULL));
}

static void ids(struct writer *w, const sail__model_config *c, sail_node *root)
{
    if (c->bos_id >= 0)
        integer(w, root, "bos_token_id", c->bos_id);
    if (c->pad_id >= 0)
        integer(w, root, "pad_token_id", c->pad_id);
    if (c->n_end_ids == 1)
        integer(w, root, "eos_token_id", c->end_ids[0]);
    if (c->n_end_ids < 2)
        return;
    sail_node *list = node(w, SAIL_NODE_LIST);
    for (int32_t i = 0; list && i < c->n_end_ids; i++) {
        sail_node *n = node(w, SAIL_NODE_INT);
        if (n)
            n->integer = c->end_ids[i];
        w->failed |= !n || !sail__node_append(w->arena, list, n);
    }
    put(w, root, "eos_token_id", list);
}

static const char *dtype_text(sail_dtype t)
{
    return t == SAIL_BF16 ? "bfloat16" : t == SAIL_F16 ? "float16" : "float32";
}

static void score_head(struct writer *w, const sail__model_config *c, sail_node *root)
{
    if (!c->labels)
        return;
    sail_node *list = node(w, SAIL_NODE_LIST), *names = node(w, SAIL_NODE_MAP), *numbers = node(w, SAIL_NODE_MAP);
    if (list)
        w->failed |= !sail__node_append(w->arena, list, sail__node_string(w->arena, c->architecture, origin));
    put(w, root, "architectures", list);
    for (int32_t i = 0; names && numbers && i < c->labels; i++) {
        const char *key = sail__arena_printf(w->arena, "%d", i), *name = sail__arena_printf(w->arena, "LABEL_%d", i);
        w->failed |= !key || !name;
        if (!key || !name)
            return;
        text(w, names, key, name);
        integer(w, numbers, name, i);
    }
    put(w, root, "id2label", names);
    put(w, root, "label2id", numbers);
    if (c->pad_id >= 0) /* where transformers looks for the last token of a row */
        integer(w, root, "pad_token_id", c->pad_id);
}

sail_code sail__config_score_node(sail_arena *a, const sail__model_config *c, sail_node *root, sail_err *err)
{
    struct writer w = {a, false};
    score_head(&w, c, root);
    return w.failed ? sail_fail(err, SAIL_E_NOMEM, "no memory for config.json") : SAIL_OK;
}

sail_code sail__config_to_node(sail_arena *a, const sail__model_config *c, sail_node **out, sail_err *err)
{
    struct writer w = {a, false};
    sail_node *root = node(&w, SAIL_NODE_MAP), *list = node(&w, SAIL_NODE_LIST);
    if (list)
        w.failed |= !sail__node_append(a, list, sail__node_string(a, c->architecture, origin));
    put(&w, root, "architectures", list);
    text(&w, root, "model_type", c->model_type);
    text(&w, root, "dtype", dtype_text(c->dtype));
    text(&w, root, "torch_dtype", dtype_text(c->dtype));
    integer(&w, root, "vocab_size", c->vocab);
    integer(&w, root, "hidden_size", c->width);
    integer(&w, root, "intermediate_size", c->ff);
    integer(&w, root, "num_hidden_layers", c->layers);
    integer(&w, root, "num_attention_heads", c->heads);
    if (strcmp(c->model_type, "gpt_neox"))
        integer(&w, root, "num_key_value_heads", c->kv_heads);
    if (!c->layer_norm)
        integer(&w, root, "head_dim", c->head_dim);
    integer(&w, root, "max_position_embeddings", c->max_positions);
    computation(&w, c, root);
    boolean(&w, root, "tie_word_embeddings", c->tied);
    score_head(&w, c, root);
    SAIL_TRY(rope(&w, c, root, err));
    windows(&w, c, root);
    ids(&w, c, root);
    *out = root;
    return w.failed ? sail_fail(err, SAIL_E_NOMEM, "no memory for config.json") : SAIL_OK;
}

sail_code sail__config_generation_node(sail_arena *a, const sail__model_config *c, sail_node **out, sail_err *err)
{
    struct writer w = {a, false};
    *out = node(&w, SAIL_NODE_MAP);
    ids(&w, c, *out);
    return w.failed ? sail_fail(err, SAIL_E_NOMEM, "no memory for generation_config.json") : SAIL_OK;
}
