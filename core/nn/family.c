/* family.c - the table of decoder families, and the list of a model's parameters. A new family is a row here and, where
 * it computes something new, a member of sail__model_config. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "family.h"

/* clang-format off */
#define L "model.layers.#."

/* What Llama and its kin share. */
#define LLAMA_NAMES                                                                                                    \
    [SAIL__ROLE_EMBED] = "model.embed_tokens.weight", [SAIL__ROLE_ATTN_NORM] = L "input_layernorm.weight",             \
    [SAIL__ROLE_Q] = L "self_attn.q_proj.weight", [SAIL__ROLE_Q_BIAS] = L "self_attn.q_proj.bias",                     \
    [SAIL__ROLE_K] = L "self_attn.k_proj.weight", [SAIL__ROLE_K_BIAS] = L "self_attn.k_proj.bias",                     \
    [SAIL__ROLE_V] = L "self_attn.v_proj.weight", [SAIL__ROLE_V_BIAS] = L "self_attn.v_proj.bias",                     \
    [SAIL__ROLE_O] = L "self_attn.o_proj.weight", [SAIL__ROLE_O_BIAS] = L "self_attn.o_proj.bias",                     \
    [SAIL__ROLE_GATE] = L "mlp.gate_proj.weight", [SAIL__ROLE_GATE_BIAS] = L "mlp.gate_proj.bias",                     \
    [SAIL__ROLE_UP] = L "mlp.up_proj.weight", [SAIL__ROLE_UP_BIAS] = L "mlp.up_proj.bias",                             \
    [SAIL__ROLE_DOWN] = L "mlp.down_proj.weight", [SAIL__ROLE_DOWN_BIAS] = L "mlp.down_proj.bias",                     \
    [SAIL__ROLE_FINAL_NORM] = "model.norm.weight", [SAIL__ROLE_HEAD] = "lm_head.weight",                               \
    [SAIL__ROLE_SCORE] = "score.weight"
#define LLAMA_MLP_NORM [SAIL__ROLE_MLP_NORM] = L "post_attention_layernorm.weight"
#define QK_NORMS [SAIL__ROLE_Q_NORM] = L "self_attn.q_norm.weight", [SAIL__ROLE_K_NORM] = L "self_attn.k_norm.weight"
#define SANDWICH_NORMS                                                                                                 \
    [SAIL__ROLE_POST_ATTN_NORM] = L "post_attention_layernorm.weight",                                                 \
    [SAIL__ROLE_MLP_NORM] = L "pre_feedforward_layernorm.weight",                                                      \
    [SAIL__ROLE_POST_MLP_NORM] = L "post_feedforward_layernorm.weight"
#define X "gpt_neox.layers.#."

static const sail__family families[] = {
    {.model_type = "llama", .architecture = "Llama", .gguf = "llama", .gguf_permuted = true,
     .names = {LLAMA_NAMES, LLAMA_MLP_NORM}},
    {.model_type = "mistral", .architecture = "Mistral", .gguf = "llama", .gguf_permuted = true,
     .names = {LLAMA_NAMES, LLAMA_MLP_NORM}},
    {.model_type = "qwen2", .architecture = "Qwen2", .gguf = "qwen2", .names = {LLAMA_NAMES, LLAMA_MLP_NORM}},
    {.model_type = "qwen3", .architecture = "Qwen3", .gguf = "qwen3",
     .names = {LLAMA_NAMES, LLAMA_MLP_NORM, QK_NORMS}},
    {.model_type = "phi3", .architecture = "Phi3", .gguf = "phi3",
     .names = {LLAMA_NAMES, LLAMA_MLP_NORM, [SAIL__ROLE_QKV] = L "self_attn.qkv_proj.weight",
               [SAIL__ROLE_GATE_UP] = L "mlp.gate_up_proj.weight"}},
    {.model_type = "gemma", .architecture = "Gemma", .gguf = "gemma", .names = {LLAMA_NAMES, LLAMA_MLP_NORM}},
    {.model_type = "gemma2", .architecture = "Gemma2", .gguf = "gemma2", .gguf_period = 2,
     .names = {LLAMA_NAMES, SANDWICH_NORMS}},
    {.model_type = "gemma3_text", .architecture = "Gemma3", .gguf = "gemma3", .gguf_period = 6,
     .names = {LLAMA_NAMES, SANDWICH_NORMS, QK_NORMS}},
    {.model_type = "gpt_neox", .architecture = "GPTNeoX", .gguf = "gptneox",
     .names = {[SAIL__ROLE_EMBED] = "gpt_neox.embed_in.weight",
               [SAIL__ROLE_ATTN_NORM] = X "input_layernorm.weight",
               [SAIL__ROLE_ATTN_NORM_BIAS] = X "input_layernorm.bias",
               [SAIL__ROLE_QKV] = X "attention.query_key_value.weight",
               [SAIL__ROLE_QKV_BIAS] = X "attention.query_key_value.bias",
               [SAIL__ROLE_O] = X "attention.dense.weight", [SAIL__ROLE_O_BIAS] = X "attention.dense.bias",
               [SAIL__ROLE_MLP_NORM] = X "post_attention_layernorm.weight",
               [SAIL__ROLE_MLP_NORM_BIAS] = X "post_attention_layernorm.bias",
               [SAIL__ROLE_UP] = X "mlp.dense_h_to_4h.weight", [SAIL__ROLE_UP_BIAS] = X "mlp.dense_h_to_4h.bias",
               [SAIL__ROLE_DOWN] = X "mlp.dense_4h_to_h.weight", [SAIL__ROLE_DOWN_BIAS] = X "mlp.dense_4h_to_h.bias",
               [SAIL__ROLE_FINAL_NORM] = "gpt_neox.final_layer_norm.weight",
               [SAIL__ROLE_FINAL_NORM_BIAS] = "gpt_neox.final_layer_norm.bias",
               [SAIL__ROLE_HEAD] = "embed_out.weight", [SAIL__ROLE_SCORE] = "score.weight"}},
    {.model_type = "phi", .architecture = "Phi", .gguf = "phi2",
     .names = {[SAIL__ROLE_EMBED] = "model.embed_tokens.weight",
               [SAIL__ROLE_ATTN_NORM] = L "input_layernorm.weight",
               [SAIL__ROLE_ATTN_NORM_BIAS] = L "input_layernorm.bias",
               [SAIL__ROLE_Q] = L "self_attn.q_proj.weight", [SAIL__ROLE_Q_BIAS] = L "self_attn.q_proj.bias",
               [SAIL__ROLE_K] = L "self_attn.k_proj.weight", [SAIL__ROLE_K_BIAS] = L "self_attn.k_proj.bias",
               [SAIL__ROLE_V] = L "self_attn.v_proj.weight", [SAIL__ROLE_V_BIAS] = L "self_attn.v_proj.bias",
               [SAIL__ROLE_O] = L "self_attn.dense.weight", [SAIL__ROLE_O_BIAS] = L "self_attn.dense.bias",
               [SAIL__ROLE_UP] = L "mlp.fc1.weight", [SAIL__ROLE_UP_BIAS] = L "mlp.fc1.bias",
               [SAIL__ROLE_DOWN] = L "mlp.fc2.weight", [SAIL__ROLE_DOWN_BIAS] = L "mlp.fc2.bias",
               [SAIL__ROLE_FINAL_NORM] = "model.final_layernorm.weight",
               [SAIL__ROLE_FINAL_NORM_BIAS] = "model.final_layernorm.bias", [SAIL__ROLE_HEAD] = "lm_head.weight",
               [SAIL__ROLE_HEAD_BIAS] = "lm_head.bias", [SAIL__ROLE_SCORE] = "score.weight"}},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

/* GGUF gives a role the same name in every architecture. */
static const char *const gguf_names[SAIL__ROLE_COUNT] = {
    [SAIL__ROLE_EMBED] = "token_embd.weight",
    [SAIL__ROLE_ATTN_NORM] = "blk.#.attn_norm.weight", [SAIL__ROLE_ATTN_NORM_BIAS] = "blk.#.attn_norm.bias",
    [SAIL__ROLE_Q] = "blk.#.attn_q.weight", [SAIL__ROLE_Q_BIAS] = "blk.#.attn_q.bias",
    [SAIL__ROLE_K] = "blk.#.attn_k.weight", [SAIL__ROLE_K_BIAS] = "blk.#.attn_k.bias",
    [SAIL__ROLE_V] = "blk.#.attn_v.weight", [SAIL__ROLE_V_BIAS] = "blk.#.attn_v.bias",
    [SAIL__ROLE_QKV] = "blk.#.attn_qkv.weight", [SAIL__ROLE_QKV_BIAS] = "blk.#.attn_qkv.bias",
    [SAIL__ROLE_Q_NORM] = "blk.#.attn_q_norm.weight", [SAIL__ROLE_K_NORM] = "blk.#.attn_k_norm.weight",
    [SAIL__ROLE_O] = "blk.#.attn_output.weight", [SAIL__ROLE_O_BIAS] = "blk.#.attn_output.bias",
    [SAIL__ROLE_POST_ATTN_NORM] = "blk.#.post_attention_norm.weight",
    [SAIL__ROLE_MLP_NORM] = "blk.#.ffn_norm.weight", [SAIL__ROLE_MLP_NORM_BIAS] = "blk.#.ffn_norm.bias",
    [SAIL__ROLE_GATE] = "blk.#.ffn_gate.weight", [SAIL__ROLE_GATE_BIAS] = "blk.#.ffn_gate.bias",
    [SAIL__ROLE_UP] = "blk.#.ffn_up.weight", [SAIL__ROLE_UP_BIAS] = "blk.#.ffn_up.bias",
    [SAIL__ROLE_GATE_UP] = "blk.#.ffn_up.weight",
    [SAIL__ROLE_DOWN] = "blk.#.ffn_down.weight", [SAIL__ROLE_DOWN_BIAS] = "blk.#.ffn_down.bias",
    [SAIL__ROLE_POST_MLP_NORM] = "blk.#.post_ffw_norm.weight",
    [SAIL__ROLE_FINAL_NORM] = "output_norm.weight", [SAIL__ROLE_FINAL_NORM_BIAS] = "output_norm.bias",
    [SAIL__ROLE_HEAD] = "output.weight", [SAIL__ROLE_HEAD_BIAS] = "output.bias",
};

/* clang-format on */

const sail__family *sail__family_by_type(const char *model_type)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i].model_type, model_type))
            return &families[i];
    return NULL;
}

const sail__family *sail__family_by_gguf(const char *arch)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i].gguf, arch))
            return &families[i];
    return NULL;
}

const sail__family *sail__family_at(size_t i)
{
    return i < FAMILIES ? &families[i] : NULL;
}

bool sail__role_per_layer(sail__role role)
{
    static const bool per_layer[] = {
#define ROLE(NAME, per_layer) per_layer,
        SAIL__ROLES(ROLE)
#undef ROLE
    };
    return per_layer[role];
}

const char *sail__role_name(sail__role role)
{
    static const char *const names[] = {
#define ROLE(NAME, per_layer) #NAME,
        SAIL__ROLES(ROLE)
#undef ROLE
    };
    return names[role];
}

bool sail__later_gemma(const sail__model_config *c)
{
    return !strcmp(c->model_type, "gemma2") || !strcmp(c->model_type, "gemma3_text");
}

void sail__family_rules(sail__model_config *c)
{
    const char *t = c->model_type;
    const bool gemma = !strncmp(t, "gemma", 5);
    const bool neox = !strcmp(t, "gpt_neox"), phi = !strcmp(t, "phi"), phi3 = !strcmp(t, "phi3");
    c->layer_norm = neox || phi;
    c->norm_plus = gemma ? 1 : 0;
    c->post_norms = sail__later_gemma(c);
    c->qk_norm = !strcmp(t, "qwen3") || !strcmp(t, "gemma3_text");
    c->head_bias = phi;
    c->fused_qkv = neox || phi3;
    c->per_head_qkv = neox;
    c->fused_gate_up = phi3;
    c->gated = !neox && !phi;
    c->parallel = neox || phi;
    c->shared_norm = phi;
    c->activation = gemma || phi ? SAIL_ACT_GELU_TANH : neox ? SAIL_ACT_GELU : SAIL_ACT_SILU;
    c->embed_scale = gemma ? sqrt((double)c->width) : 1;
    c->attention_scale = 1 / sqrt((double)c->head_dim);
}

static bool fill(const char *pattern, int layer, char *out, size_t size)
{
    if (!pattern)
        return false;
    const char *hash = strchr(pattern, '#');
    int n = hash ? snprintf(out, size, "%.*s%d%s", (int)(hash - pattern), pattern, layer, hash + 1)
                 : snprintf(out, size, "%s", pattern);
    return n >= 0 && (size_t)n < size;
}

bool sail__family_name(const sail__family *f, sail__role role, int layer, char *out, size_t size)
{
    return fill(f->names[role], layer, out, size);
}

bool sail__gguf_name(sail__role role, int layer, char *out, size_t size)
{
    return fill(gguf_names[role], layer, out, size);
}

bool sail__param_wanted(const sail__model_config *c, sail__role role)
{
    bool apart = !c->fused_qkv, own_up = !c->fused_gate_up;
    switch (role) {
    case SAIL__ROLE_EMBED:
    case SAIL__ROLE_ATTN_NORM:
    case SAIL__ROLE_O:
    case SAIL__ROLE_DOWN:
    case SAIL__ROLE_FINAL_NORM:
        return true;
    case SAIL__ROLE_ATTN_NORM_BIAS:
    case SAIL__ROLE_FINAL_NORM_BIAS:
        return c->layer_norm;
    case SAIL__ROLE_Q:
    case SAIL__ROLE_K:
    case SAIL__ROLE_V:
        return apart;
    case SAIL__ROLE_Q_BIAS:
    case SAIL__ROLE_K_BIAS:
    case SAIL__ROLE_V_BIAS:
        return apart && c->qkv_bias;
    case SAIL__ROLE_QKV:
        return c->fused_qkv;
    case SAIL__ROLE_QKV_BIAS:
        return c->fused_qkv && c->qkv_bias;
    case SAIL__ROLE_Q_NORM:
    case SAIL__ROLE_K_NORM:
        return c->qk_norm;
    case SAIL__ROLE_O_BIAS:
        return c->o_bias;
    case SAIL__ROLE_POST_ATTN_NORM:
    case SAIL__ROLE_POST_MLP_NORM:
        return c->post_norms;
    case SAIL__ROLE_MLP_NORM:
        return !c->shared_norm;
    case SAIL__ROLE_MLP_NORM_BIAS:
        return !c->shared_norm && c->layer_norm;
    case SAIL__ROLE_GATE:
        return c->gated && own_up;
    case SAIL__ROLE_GATE_BIAS:
        return c->gated && own_up && c->mlp_bias;
    case SAIL__ROLE_UP:
        return own_up;
    case SAIL__ROLE_UP_BIAS:
        return own_up && c->mlp_bias;
    case SAIL__ROLE_GATE_UP:
        return c->fused_gate_up;
    case SAIL__ROLE_DOWN_BIAS:
        return c->mlp_bias;
    case SAIL__ROLE_HEAD:
        return !c->labels && !c->tied;
    case SAIL__ROLE_HEAD_BIAS:
        return !c->labels && c->head_bias;
    case SAIL__ROLE_SCORE:
        return c->labels > 0;
    case SAIL__ROLE_SCORE_BIAS:
        return c->labels > 0 && c->score_bias;
    case SAIL__ROLE_COUNT:
        break;
    }
    return false;
}

static void shape(const sail__model_config *c, sail__param *p)
{
    int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim, ff = c->ff, width = c->width;
    int64_t rows = 0, cols = width; /* rows 0: a vector */
    switch (p->role) {
    case SAIL__ROLE_EMBED:
    case SAIL__ROLE_HEAD:
        rows = c->vocab;
        break;
    case SAIL__ROLE_Q:
        rows = q;
        break;
    case SAIL__ROLE_Q_BIAS:
        cols = q;
        break;
    case SAIL__ROLE_K:
    case SAIL__ROLE_V:
        rows = kv;
        break;
    case SAIL__ROLE_K_BIAS:
    case SAIL__ROLE_V_BIAS:
        cols = kv;
        break;
    case SAIL__ROLE_QKV:
        rows = q + 2 * kv;
        break;
    case SAIL__ROLE_QKV_BIAS:
        cols = q + 2 * kv;
        break;
    case SAIL__ROLE_Q_NORM:
    case SAIL__ROLE_K_NORM:
        cols = c->head_dim;
        break;
    case SAIL__ROLE_O:
        rows = width, cols = q;
        break;
    case SAIL__ROLE_GATE:
    case SAIL__ROLE_UP:
        rows = ff;
        break;
    case SAIL__ROLE_GATE_BIAS:
    case SAIL__ROLE_UP_BIAS:
        cols = ff;
        break;
    case SAIL__ROLE_GATE_UP:
        rows = 2 * ff;
        break;
    case SAIL__ROLE_DOWN:
        rows = width, cols = ff;
        break;
    case SAIL__ROLE_HEAD_BIAS:
        cols = c->vocab;
        break;
    case SAIL__ROLE_SCORE:
        rows = c->labels;
        break;
    case SAIL__ROLE_SCORE_BIAS:
        cols = c->labels;
        break;
    default:
        break; /* norms and biases of the width */
    }
    p->vector = rows == 0;
    p->rows = rows ? rows : 1;
    p->cols = cols;
}

static sail_code add(sail_arena *a, const sail__model_config *c, sail__role role, int layer, sail__param *p, size_t *n,
                     sail_err *err)
{
    char name[128];
    if (!sail__param_wanted(c, role))
        return SAIL_OK;
    bool named = c->score_module && (role == SAIL__ROLE_SCORE || role == SAIL__ROLE_SCORE_BIAS);
    if (named)
        named = (size_t)snprintf(name, sizeof name, "%s.%s", c->score_module, role == SAIL__ROLE_SCORE ? "weight" : "bias") < sizeof name;
    if (!named && !sail__family_name(c->family, role, layer, name, sizeof name))
        return sail_fail(err, SAIL_E_BUG, "family %s has no parameter name for %s", c->family->model_type,
                         sail__role_name(role));
    p[*n] = (sail__param){
        .name = sail__arena_strdup(a, name), .role = role, .layer = sail__role_per_layer(role) ? layer : -1};
    if (!p[*n].name)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory listing the model's parameters");
    shape(c, &p[(*n)++]);
    return SAIL_OK;
}

sail_code sail__model_params(sail_arena *a, const sail__model_config *c, sail__param **out, size_t *n, sail_err *err)
{
    sail__param *p = sail__arena_array(a, ((size_t)c->layers + 1) * SAIL__ROLE_COUNT, sizeof *p);
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory listing the model's parameters");
    *n = 0;
    SAIL_TRY(add(a, c, SAIL__ROLE_EMBED, 0, p, n, err));
    for (int layer = 0; layer < c->layers; layer++)
        for (int role = 0; role < SAIL__ROLE_COUNT; role++)
            if (sail__role_per_layer((sail__role)role))
                SAIL_TRY(add(a, c, (sail__role)role, layer, p, n, err));
    for (int role = SAIL__ROLE_FINAL_NORM; role < SAIL__ROLE_COUNT; role++)
        SAIL_TRY(add(a, c, (sail__role)role, 0, p, n, err));
    *out = p;
    return SAIL_OK;
}

bool sail__is_weight_of(const char *param, const char *module)
{
    const size_t n = strlen(module);
    return strncmp(param, module, n) == 0 && strcmp(param + n, ".weight") == 0;
}

const sail__param *sail__weight_of(const sail__param *params, size_t n, const char *module)
{
    for (size_t i = 0; i < n; i++)
        if (sail__is_weight_of(params[i].name, module))
            return &params[i];
    return NULL;
}

bool sail__param_reordered(const sail__model_config *c, sail__role role)
{
    return c->per_head_qkv && (role == SAIL__ROLE_QKV || role == SAIL__ROLE_QKV_BIAS);
}

int64_t sail__param_file_row(const sail__model_config *c, sail__role role, int64_t i)
{
    if (!sail__param_reordered(c, role))
        return i;
    const int64_t h = c->head_dim, part = i / (c->heads * h), head = i / h % c->heads; /* part: q, k, v */
    return (head * 3 + part) * h + i % h;
}

int64_t sail__param_row_of_file(const sail__model_config *c, sail__role role, int64_t at)
{
    if (!sail__param_reordered(c, role))
        return at;
    const int64_t h = c->head_dim, head = at / (3 * h), part = at / h % 3;
    return (part * c->heads + head) * h + at % h;
}

bool sail__gguf_reordered(const sail__model_config *c, sail__role role)
{
    const bool turns = role == SAIL__ROLE_Q || role == SAIL__ROLE_K || role == SAIL__ROLE_Q_BIAS || role == SAIL__ROLE_K_BIAS;
    return turns && c->family->gguf_permuted;
}

int64_t sail__gguf_file_row(const sail__model_config *c, sail__role role, int64_t i)
{
    if (!sail__gguf_reordered(c, role))
        return i;
    const int64_t half = c->head_dim / 2, in = i % c->head_dim;
    return i - in + 2 * (in % half) + in / half;
}

int64_t sail__gguf_row_of_file(const sail__model_config *c, sail__role role, int64_t at)
{
    if (!sail__gguf_reordered(c, role))
        return at;
    const int64_t half = c->head_dim / 2, in = at % c->head_dim;
    return at - in + in % 2 * half + in / 2;
}

double sail__gguf_plus(const sail__model_config *c, sail__role role)
{
    return sail__ends_with(sail__role_name(role), "_NORM") ? c->norm_plus : 0;
}
