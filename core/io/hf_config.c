/* hf_config.c - config.json into a model config. A reader keeps the first error, so that a family's part reads as a
 * list of its fields; null counts as absent. Spellings of transformers 4 and 5 are both understood. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hf_config.h"

enum { LARGEST_FILE = 16 << 20, MOST = 1 << 24 };

struct reader {
    sail_arena *arena;
    const sail_node *root; /* config.json */
    const char *file;
    sail_err *err;
    sail_code code;
};

static void fail(struct reader *r, sail_code code, const char *field, const char *what)
{
    if (r->code == SAIL_OK)
        r->code = sail_fail(r->err, code, "%s: %s: %s", r->file, field, what);
}

static const sail_node *get(const sail_node *map, const char *field)
{
    const sail_node *n = sail__node_get(map, field);
    return n && n->kind != SAIL_NODE_NULL ? n : NULL;
}

static int64_t integer(struct reader *r, const sail_node *map, const char *field, int64_t fallback, int64_t least,
                       int64_t most)
{
    const sail_node *n = get(map, field);
    if (!n)
        return fallback;
    double d = n->kind == SAIL_NODE_INT ? (double)n->integer : n->kind == SAIL_NODE_FLOAT ? n->number : NAN;
    if (!(d >= (double)least && d <= (double)most) || d != floor(d)) {
        char text[96];
        snprintf(text, sizeof text, "an integer from %lld to %lld was expected", (long long)least, (long long)most);
        fail(r, SAIL_E_FORMAT, field, text);
        return fallback;
    }
    return n->kind == SAIL_NODE_INT ? n->integer : (int64_t)d;
}

static int32_t size(struct reader *r, const char *field)
{
    if (!get(r->root, field))
        fail(r, SAIL_E_FORMAT, field, "is missing");
    return (int32_t)integer(r, r->root, field, 1, 1, MOST);
}

static double number(struct reader *r, const sail_node *map, const char *field, double fallback, double least)
{
    const sail_node *n = get(map, field);
    if (!n)
        return fallback;
    double d = n->kind == SAIL_NODE_INT ? (double)n->integer : n->kind == SAIL_NODE_FLOAT ? n->number : NAN;
    if (!(d >= least && d <= 1e30)) {
        char text[96];
        snprintf(text, sizeof text, "a number of at least %g was expected", least);
        fail(r, SAIL_E_FORMAT, field, text);
        return fallback;
    }
    return d;
}

static bool boolean(struct reader *r, const char *field, bool fallback)
{
    const sail_node *n = get(r->root, field);
    if (n && n->kind != SAIL_NODE_BOOL)
        fail(r, SAIL_E_FORMAT, field, "true or false was expected");
    return n && n->kind == SAIL_NODE_BOOL ? n->boolean : fallback;
}

static const char *text(struct reader *r, const sail_node *map, const char *field, const char *fallback)
{
    const sail_node *n = get(map, field);
    if (n && n->kind != SAIL_NODE_STRING)
        fail(r, SAIL_E_FORMAT, field, "a string was expected");
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : fallback;
}

/* ---- rotation ---- */

static const double *factors(struct reader *r, const sail_node *map, const char *field, int32_t n)
{
    const sail_node *list = get(map, field);
    double *out = sail__arena_array(r->arena, (size_t)n, sizeof *out);
    if (!list || list->kind != SAIL_NODE_LIST || list->list.n != (size_t)n || !out) {
        char what[96];
        snprintf(what, sizeof what, "a list of %d numbers (one for each pair that turns) was expected", n);
        fail(r, SAIL_E_FORMAT, field, what);
        return NULL;
    }
    for (int32_t i = 0; i < n; i++) {
        const sail_node *x = list->list.items[i];
        out[i] = x->kind == SAIL_NODE_INT ? (double)x->integer : x->kind == SAIL_NODE_FLOAT ? x->number : 0;
        if (!(out[i] > 0 && out[i] < 1e30)) {
            fail(r, SAIL_E_FORMAT, field, "positive numbers were expected");
            return NULL;
        }
    }
    return out;
}

static void longrope(struct reader *r, const sail_node *map, const sail__model_config *c, sail__rope *rope)
{
    rope->kind = SAIL__ROPE_LONGROPE;
    rope->short_factor = factors(r, map, "short_factor", rope->rotary / 2);
    rope->long_factor = factors(r, map, "long_factor", rope->rotary / 2);
    if (get(map, "short_mscale") || get(map, "long_mscale"))
        fail(r, SAIL_E_FORMAT, "rope_scaling.short_mscale", "is not supported");
    double ratio = rope->original_length ? (double)c->max_positions / (double)rope->original_length : 1;
    double usual = ratio > 1 ? sqrt(1 + log(ratio) / log((double)rope->original_length)) : 1;
    rope->attention_factor = number(r, map, "attention_factor", usual, 1e-6);
    if (!rope->original_length)
        fail(r, SAIL_E_FORMAT, "original_max_position_embeddings", "is missing; longrope needs it");
}

/* map: rope_parameters or rope_scaling, or NULL; theta and part are used where it does not say. */
static sail__rope rope_from(struct reader *r, const sail_node *map, const sail__model_config *c, double theta,
                            double part)
{
    sail__rope rope = {.kind = SAIL__ROPE_DEFAULT, .attention_factor = 1, .factor = 1, .low_freq = 1, .high_freq = 1};
    if (map && map->kind != SAIL_NODE_MAP)
        fail(r, SAIL_E_FORMAT, "rope_scaling", "a map was expected");
    rope.theta = number(r, map, "rope_theta", theta, 1e-6);
    part = number(r, map, "partial_rotary_factor", part, 0);
    if (part > 1) {
        fail(r, SAIL_E_FORMAT, "partial_rotary_factor", "a number from 0 to 1 was expected");
        part = 1;
    }
    rope.rotary = (int32_t)(c->head_dim * part);
    rope.original_length =
        integer(r, map, "original_max_position_embeddings",
                integer(r, r->root, "original_max_position_embeddings", 0, 1, INT32_MAX), 1, INT32_MAX);
    const sail_node *given = sail__node_get(map, "rope_type");
    if (given && given->kind == SAIL_NODE_NULL) /* transformers takes no default for a null, and refuses it */
        fail(r, SAIL_E_FORMAT, "rope_type", "is null: name default, linear, llama3 or longrope, or leave it out");
    const char *kind = text(r, map, "rope_type", text(r, map, "type", "default"));
    if (!strcmp(kind, "default")) {
        rope.original_length = 0;
    } else if (!strcmp(kind, "linear")) {
        rope.kind = SAIL__ROPE_LINEAR;
        rope.original_length = 0;
        rope.factor = number(r, map, "factor", 0, 1e-6);
        if (!get(map, "factor"))
            fail(r, SAIL_E_FORMAT, "rope_scaling.factor", "is missing");
    } else if (!strcmp(kind, "llama3")) {
        static const char *const needs[] = {"factor", "low_freq_factor", "high_freq_factor"};
        rope.kind = SAIL__ROPE_LLAMA3;
        rope.factor = number(r, map, "factor", 1, 1e-6);
        rope.low_freq = number(r, map, "low_freq_factor", 1, 1e-6);
        rope.high_freq = number(r, map, "high_freq_factor", 2, 1e-6);
        for (int i = 0; i < 3; i++)
            if (!get(map, needs[i]))
                fail(r, SAIL_E_FORMAT, needs[i], "is missing; llama3 rope scaling needs it");
        if (!rope.original_length)
            fail(r, SAIL_E_FORMAT, "original_max_position_embeddings", "is missing; llama3 rope scaling needs it");
        if (rope.high_freq <= rope.low_freq)
            fail(r, SAIL_E_FORMAT, "high_freq_factor", "should be greater than low_freq_factor");
    } else if (!strcmp(kind, "longrope") || !strcmp(kind, "su")) {
        longrope(r, map, c, &rope);
    } else {
        char what[160];
        snprintf(what, sizeof what, "\"%.40s\" is not supported; default, linear, llama3, longrope are", kind);
        fail(r, SAIL_E_FORMAT, "rope_type", what);
    }
    return rope;
}

static void ropes(struct reader *r, sail__model_config *c)
{
    bool neox = !strcmp(c->model_type, "gpt_neox"), gemma3 = !strcmp(c->model_type, "gemma3_text");
    double theta =
        number(r, r->root, "rope_theta", number(r, r->root, "rotary_emb_base", gemma3 ? 1e6 : 1e4, 1e-6), 1e-6);
    double usual = neox ? 0.25 : !strcmp(c->model_type, "phi") ? 0.5 : 1;
    double part = number(r, r->root, "partial_rotary_factor", number(r, r->root, "rotary_pct", usual, 0), 0);
    const sail_node *map = get(r->root, "rope_parameters");
    const sail_node *full = get(map, "full_attention"), *local = get(map, "sliding_attention");
    c->n_ropes = 1;
    if (full || local) {
        c->n_ropes = 2;
        c->ropes[0] = rope_from(r, full, c, theta, part);
        c->ropes[1] = rope_from(r, local, c, theta, part);
        return;
    }
    c->ropes[0] = rope_from(r, map ? map : get(r->root, "rope_scaling"), c, theta, part);
    if (gemma3) {
        c->n_ropes = 2;
        c->ropes[1] = rope_from(r, NULL, c, number(r, r->root, "rope_local_base_freq", 1e4, 1e-6), part);
    }
}

/* ---- layers ---- */

/* Whether layer i has a window, where layer_types does not say. */
static bool windowed(struct reader *r, const sail__model_config *c, int i)
{
    const char *t = c->model_type;
    if (!strcmp(t, "mistral") || !strcmp(t, "phi3"))
        return true;
    if (!strcmp(t, "qwen2") || !strcmp(t, "qwen3"))
        return i >= integer(r, r->root, "max_window_layers", 28, 0, MOST);
    if (!strcmp(t, "gemma2"))
        return i % 2 == 0;
    if (!strcmp(t, "gemma3_text")) {
        int64_t pattern = integer(r, r->root, "_sliding_window_pattern", 6, 1, MOST);
        return (i + 1) % integer(r, r->root, "sliding_window_pattern", pattern, 1, MOST) != 0;
    }
    return false;
}

static void layers(struct reader *r, sail__model_config *c)
{
    int32_t window = (int32_t)integer(r, r->root, "sliding_window", 0, 0, INT32_MAX);
    bool qwen = !strcmp(c->model_type, "qwen2") || !strcmp(c->model_type, "qwen3");
    if (qwen && !boolean(r, "use_sliding_window", false))
        window = 0;
    const sail_node *types = get(r->root, "layer_types");
    if (types && (types->kind != SAIL_NODE_LIST || types->list.n != (size_t)c->layers)) {
        fail(r, SAIL_E_FORMAT, "layer_types", "one entry for each of num_hidden_layers was expected");
        types = NULL;
    }
    sail__layer_config *layer = sail__arena_array(r->arena, (size_t)c->layers, sizeof *layer);
    if (!layer) {
        fail(r, SAIL_E_NOMEM, "num_hidden_layers", "no memory for so many layers");
        return;
    }
    for (int i = 0; i < c->layers; i++) {
        bool slides;
        if (types) {
            const sail_node *n = types->list.items[i];
            const char *kind = n->kind == SAIL_NODE_STRING ? n->string.data : "";
            slides = !strcmp(kind, "sliding_attention");
            if (!slides && strcmp(kind, "full_attention")) {
                char what[160];
                snprintf(what, sizeof what,
                         "layer %d: \"%.40s\" is not supported; full_attention, sliding_attention are", i, kind);
                fail(r, SAIL_E_FORMAT, "layer_types", what);
            }
            if (slides && !window)
                fail(r, SAIL_E_FORMAT, "sliding_window", "is missing; layer_types has sliding_attention");
        } else {
            slides = windowed(r, c, i);
        }
        layer[i] = (sail__layer_config){.window = slides ? window : 0, .rope = slides && c->n_ropes == 2};
    }
    c->layer = layer;
}

/* ---- the rest ---- */

static sail_activation activation(struct reader *r, const sail__model_config *c)
{
    static const struct {
        const char *name;
        sail_activation act;
    } names[] = {{"silu", SAIL_ACT_SILU},
                 {"swish", SAIL_ACT_SILU},
                 {"gelu", SAIL_ACT_GELU},
                 {"relu", SAIL_ACT_RELU},
                 {"gelu_new", SAIL_ACT_GELU_TANH},
                 {"gelu_fast", SAIL_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", SAIL_ACT_GELU_TANH}};
    bool gemma = !strncmp(c->model_type, "gemma", 5);
    const char *field = get(r->root, "hidden_activation") ? "hidden_activation" : "hidden_act";
    const char *name = text(r, r->root, field, gemma ? "gelu_pytorch_tanh" : NULL);
    if (!name) {
        fail(r, SAIL_E_FORMAT, "hidden_act", "is missing");
        return SAIL_ACT_SILU;
    }
    if (gemma && !strcmp(name, "gelu"))
        return SAIL_ACT_GELU_TANH; /* the old files' word for it */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(names[i].name, name))
            return names[i].act;
    char what[160];
    snprintf(what, sizeof what,
             "activation \"%.40s\" is not supported; silu, gelu, gelu_new, gelu_pytorch_tanh, relu are", name);
    fail(r, SAIL_E_FORMAT, field, what);
    return SAIL_ACT_SILU;
}

/* A list of the head's numbers, or one for all. */
static double nth(struct reader *r, const char *field, int32_t i, int32_t n)
{
    const sail_node *v = get(r->root, field);
    if (v && v->kind == SAIL_NODE_LIST && v->list.n == (size_t)n)
        v = v->list.items[i];
    double d = v && v->kind == SAIL_NODE_INT ? (double)v->integer : v && v->kind == SAIL_NODE_FLOAT ? v->number : NAN;
    if (!isfinite(d))
        fail(r, SAIL_E_FORMAT, field, "a number for each of score_dim was expected, since do_normalize is true");
    return d;
}

/* Safe RLHF's score models: rewards are normalised by mean and deviation, costs by the deviation alone; a cost counts negatively. */
static void score_model(struct reader *r, sail__model_config *c)
{
    const char *type = text(r, r->root, "score_type", "reward");
    bool cost = !strcmp(type, "cost"), reward = !strcmp(type, "reward"), normal = boolean(r, "do_normalize", false);
    c->labels = (int32_t)integer(r, r->root, "score_dim", 1, 1, 65536);
    c->score_module = "score_head";
    c->score_bias = boolean(r, "bias", false);
    c->prompt_form = "beaver";
    c->score_open = true;
    if (!cost && !reward)
        fail(r, SAIL_E_FORMAT, "score_type", "\"reward\" or \"cost\" was expected");
    if (!cost && !normal)
        return;
    double *shift = sail__arena_array(r->arena, (size_t)c->labels, sizeof *shift), *scale = sail__arena_array(r->arena, (size_t)c->labels, sizeof *scale);
    if (!shift || !scale) {
        fail(r, SAIL_E_NOMEM, "score_dim", "out of memory");
        return;
    }
    for (int32_t i = 0; i < c->labels; i++) {
        double var = normal ? nth(r, "var", i, c->labels) : 1;
        if (!(var > 0))
            fail(r, SAIL_E_FORMAT, "var", "a variance above 0 was expected, since do_normalize is true");
        shift[i] = normal && reward ? nth(r, "mean", i, c->labels) : 0;
        scale[i] = (cost ? -1 : 1) / (normal ? sqrt(var) + 1e-8 : 1);
    }
    c->score_shift = shift;
    c->score_scale = scale;
}

static void architecture(struct reader *r, sail__model_config *c)
{
    const sail_node *list = get(r->root, "architectures");
    const char *stem = c->family->architecture, *name = NULL;
    if (list && list->kind == SAIL_NODE_LIST && list->list.n && list->list.items[0]->kind == SAIL_NODE_STRING)
        name = list->list.items[0]->string.data;
    if (!name) {
        name = sail__arena_printf(r->arena, "%sForCausalLM", stem);
        if (!name)
            fail(r, SAIL_E_NOMEM, "architectures", "out of memory");
    }
    c->architecture = name;
    size_t n = strlen(stem);
    if (name && !strncmp(name, stem, n) && !strcmp(name + n, "ForCausalLM"))
        return;
    if (name && !strncmp(name, stem, n) && !strcmp(name + n, "ForSequenceClassification")) {
        const sail_node *labels = get(r->root, "id2label"); /* two are not written out */
        c->labels = labels && labels->kind == SAIL_NODE_MAP && labels->list.n ? (int32_t)labels->list.n
                                                                              : (int32_t)integer(r, r->root, "num_labels", 2, 1, MOST);
        return;
    }
    if (name && !strncmp(name, stem, n) && (!strcmp(name + n, "ModelForScore") || !strcmp(name + n, "ForScore"))) {
        score_model(r, c);
        return;
    }
    if (name && !strcmp(name, "EurusRewardModel")) {
        c->labels = 1;
        c->score_module = "regression_head";
        c->prompt_form = "mistral";
        c->score_open = true;
        return;
    }
    char what[240];
    snprintf(what, sizeof what, "\"%.60s\" is not supported; %sForCausalLM, %sForSequenceClassification, %sModelForScore and EurusRewardModel are",
             name ? name : "", stem, stem, stem);
    fail(r, SAIL_E_FORMAT, "architectures", what);
}

static sail_dtype dtype(struct reader *r)
{
    const char *field = get(r->root, "dtype") ? "dtype" : "torch_dtype";
    const char *name = text(r, r->root, field, "float32");
    if (!strncmp(name, "torch.", 6))
        name += 6;
    if (!strcmp(name, "float32"))
        return SAIL_F32;
    if (!strcmp(name, "bfloat16"))
        return SAIL_BF16;
    if (!strcmp(name, "float16"))
        return SAIL_F16;
    if (!strcmp(name, "float64"))
        return SAIL_F64;
    fail(r, SAIL_E_FORMAT, field, "float32, float16 or bfloat16 was expected");
    return SAIL_F32;
}

static void add_end(struct reader *r, sail__model_config *c, const sail_node *n)
{
    if (n->kind != SAIL_NODE_INT || n->integer < -1 || n->integer > INT32_MAX) {
        fail(r, SAIL_E_FORMAT, "eos_token_id", "a token id or a list of them was expected");
        return;
    }
    if (n->integer < 0)
        return;
    for (int i = 0; i < c->n_end_ids; i++)
        if (c->end_ids[i] == n->integer)
            return;
    if (c->n_end_ids == SAIL__MAX_END_IDS)
        fail(r, SAIL_E_LIMIT, "eos_token_id", "more than 32 end tokens");
    else
        c->end_ids[c->n_end_ids++] = (int32_t)n->integer;
}

static void ids(struct reader *r, const sail_node *generation, sail__model_config *c)
{
    c->bos_id = (int32_t)integer(r, r->root, "bos_token_id", integer(r, generation, "bos_token_id", -1, -1, INT32_MAX),
                                 -1, INT32_MAX);
    c->pad_id = (int32_t)integer(r, r->root, "pad_token_id", integer(r, generation, "pad_token_id", -1, -1, INT32_MAX),
                                 -1, INT32_MAX);
    const sail_node *from[] = {get(r->root, "eos_token_id"), get(generation, "eos_token_id")};
    for (int k = 0; k < 2; k++) {
        if (from[k] && from[k]->kind == SAIL_NODE_LIST)
            for (size_t i = 0; i < from[k]->list.n; i++)
                add_end(r, c, from[k]->list.items[i]);
        else if (from[k])
            add_end(r, c, from[k]);
    }
}

/* What changes the computation and is not done here. */
static void refused(struct reader *r)
{
    static const char *const off[] = {"use_bidirectional_attention",
                                      "is_encoder_decoder",
                                      "add_cross_attention",
                                      "qk_layernorm",
                                      "rope_interleaved",
                                      "use_qk_norm"};
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++)
        if (boolean(r, off[i], false))
            fail(r, SAIL_E_FORMAT, off[i], "true is not supported");
    if (get(r->root, "quantization_config"))
        fail(r, SAIL_E_FORMAT, "quantization_config",
             "quantised checkpoints are not supported; use the original weights or "
             "a GGUF file");
    static const char *const experts[] = {"num_local_experts", "num_experts", "n_routed_experts"};
    for (size_t i = 0; i < sizeof experts / sizeof experts[0]; i++)
        if (integer(r, r->root, experts[i], 0, 0, MOST) > 0)
            fail(r, SAIL_E_FORMAT, experts[i], "mixtures of experts are not supported");
}

static void family_rules(struct reader *r, sail__model_config *c)
{
    const char *t = c->model_type;
    bool gemma = !strncmp(t, "gemma", 5), neox = !strcmp(t, "gpt_neox"), phi = !strcmp(t, "phi"), qwen2 = !strcmp(t, "qwen2");
    bool llama = !strcmp(t, "llama"), bias = boolean(r, "attention_bias", neox);
    sail__family_rules(c);
    const char *eps = c->layer_norm ? "layer_norm_eps" : "rms_norm_eps";
    if (!get(r->root, eps))
        fail(r, SAIL_E_FORMAT, eps, "is missing");
    c->norm_eps = number(r, r->root, eps, 1e-5, 0);
    c->qkv_bias = qwen2 || phi || ((llama || neox || gemma || !strcmp(t, "qwen3")) && bias);
    c->o_bias = !qwen2 && c->qkv_bias;
    c->mlp_bias = neox || phi || (llama && boolean(r, "mlp_bias", false));
    c->parallel = phi || (neox && boolean(r, "use_parallel_residual", true));
    c->activation = activation(r, c);
    if (sail__later_gemma(c)) {
        c->attention_scale = 1 / sqrt(number(r, r->root, "query_pre_attn_scalar", 256, 1e-6));
        c->attention_softcap = number(r, r->root, "attn_logit_softcapping", 0, 0);
        c->final_softcap = number(r, r->root, "final_logit_softcapping", 0, 0);
    }
    c->tied = boolean(r, "tie_word_embeddings", gemma);
}

sail_code sail__config_check(const sail__model_config *c, const char *file, sail_err *err)
{
    if (c->heads % c->kv_heads)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %d attention heads are no multiple of %d key/value heads", file,
                         c->heads, c->kv_heads);
    if (c->layers > 4096 || c->head_dim > 4096 || c->heads > 4096)
        return sail_fail(err, SAIL_E_LIMIT, "%s: %d layers, %d heads, head size %d: at most 4096 of each are supported",
                         file, c->layers, c->heads, c->head_dim);
    for (int i = 0; i < c->n_ropes; i++)
        if (c->ropes[i].rotary < 2 || c->ropes[i].rotary > c->head_dim || c->ropes[i].rotary % 2)
            return sail_fail(err, SAIL_E_FORMAT,
                             "%s: %d of a head's %d entries turn; an even number from 2 was expected "
                             "(partial_rotary_factor)",
                             file, c->ropes[i].rotary, c->head_dim);
    if (c->per_head_qkv && c->heads != c->kv_heads)
        return sail_fail(err, SAIL_E_FORMAT, "%s: num_key_value_heads: %s has as many as heads", file, c->model_type);
    if (c->head_bias && c->tied)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tie_word_embeddings: true is not supported for %s", file,
                         c->model_type);
    return SAIL_OK;
}

sail_code sail__config_from_node(sail_arena *a, const sail_node *config, const sail_node *generation,
                                 sail__model_config *out, sail_err *err)
{
    struct reader r = {a, config, config->origin, err, SAIL_OK};
    *out = (sail__model_config){.bos_id = -1, .pad_id = -1};
    if (config->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_FORMAT, "%s: a JSON object was expected", r.file);
    const char *type = text(&r, config, "model_type", NULL);
    if (!type)
        fail(&r, SAIL_E_FORMAT, "model_type", "is missing");
    if (r.code != SAIL_OK)
        return r.code;
    out->family = sail__family_by_type(type);
    if (!out->family) {
        sail_buf known = {0};
        for (size_t i = 0; sail__family_at(i); i++)
            sail__buf_printf(&known, i ? ", %s" : "%s", sail__family_at(i)->model_type);
        r.code = sail_fail(err, SAIL_E_FORMAT, "%s: model_type: unknown family \"%.60s\"; known are %s", r.file, type,
                           known.data ? known.data : "");
        sail__buf_free(&known);
        return r.code;
    }
    out->model_type = out->family->model_type;
    architecture(&r, out);
    refused(&r);
    out->width = size(&r, "hidden_size");
    out->layers = size(&r, "num_hidden_layers");
    out->heads = size(&r, "num_attention_heads");
    out->kv_heads = (int32_t)integer(&r, config, "num_key_value_heads", out->heads, 1, MOST);
    out->ff = size(&r, "intermediate_size");
    out->vocab = size(&r, "vocab_size");
    if (!get(config, "head_dim") && out->width % out->heads)
        fail(&r, SAIL_E_FORMAT, "hidden_size", "should be a multiple of num_attention_heads where head_dim is absent");
    out->head_dim =
        (int32_t)integer(&r, config, "head_dim", out->width / out->heads > 0 ? out->width / out->heads : 1, 1, MOST);
    if (!get(config, "max_position_embeddings"))
        fail(&r, SAIL_E_FORMAT, "max_position_embeddings", "is missing");
    out->max_positions = integer(&r, config, "max_position_embeddings", 1, 1, INT32_MAX);
    family_rules(&r, out);
    ropes(&r, out);
    if (r.code == SAIL_OK)
        layers(&r, out);
    ids(&r, generation, out);
    out->dtype = dtype(&r);
    return r.code == SAIL_OK ? sail__config_check(out, r.file, err) : r.code;
}

sail_code sail__config_read(sail_arena *a, const char *dir, sail__model_config *out, sail_node **node, sail_err *err)
{
    sail_node *config, *generation = NULL;
    const char *path = sail__path_join(a, dir, "config.json"),
               *second = sail__path_join(a, dir, "generation_config.json");
    if (!path || !second)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to read its config.json", dir);
    SAIL_TRY(sail__json_read(a, path, LARGEST_FILE, &config, err));
    if (sail__file_exists(second))
        SAIL_TRY(sail__json_read(a, second, LARGEST_FILE, &generation, err));
    if (node)
        *node = config;
    return sail__config_from_node(a, config, generation, out, err);
}
