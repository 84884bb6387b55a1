/* decoder.c - a decoder as a graph: reads like the formulas of a layer; what differs between families is in the config. */
#include "decoder.h"

#include <stdio.h>
#include <string.h>

typedef struct builder {
    const sail__decoder_spec *spec;
    const sail__model_config *c;
    sail_graph *g;
    sail_value ids, positions, segments, ranges, tiles, rows, targets, slots;
    sail_value dropout, row_dropout; /* of the rows that x has now, and of those that the head sees */
    sail_value rope[2];
    const char *missing; /* role that was asked for and is not there */
    int missing_layer;
} builder;

static sail_value add(builder *b, sail_op op, sail_attr attr, int n, const sail_value *in)
{
    return sail_graph_add(b->g, op, &attr, in, n, SAIL_NONE);
}

/* The parameter in a role, as a value of the graph; SAIL_NONE where the model has none. */
static sail_value param(builder *b, sail__role role, int layer, int *index)
{
    const sail__decoder_spec *s = b->spec;
    for (size_t i = 0; i < s->n_params; i++) {
        const sail__param *p = &s->params[i];
        if (p->role != role || p->layer != layer)
            continue;
        int at = s->replaced && s->replaced[i] >= 0 ? s->replaced[i] : (int)i;
        if (index)
            *index = (int)i;
        return sail_graph_param(b->g, p->name, at, s->param_dtype[i], p->rows, p->cols, s->trainable && s->trainable[i]);
    }
    return SAIL_NONE;
}

static sail_value need(builder *b, sail__role role, int layer, int *index)
{
    sail_value v = param(b, role, layer, index);
    if (v == SAIL_NONE && !b->missing) {
        b->missing = sail__role_name(role);
        b->missing_layer = layer;
    }
    return v;
}

static const sail__lora_layer *lora_of(const builder *b, int param_index)
{
    for (size_t i = 0; i < b->spec->n_lora; i++)
        if (sail__is_weight_of(b->spec->params[param_index].name, b->spec->lora[i].module))
            return &b->spec->lora[i];
    return NULL;
}

/* y = x W^T (+ bias) (+ residual) (+ scale dropout(x) A^T B^T), of dtype `out`. */
static sail_value linear(builder *b, sail_value x, sail__role role, sail__role bias_role, int layer, sail_value residual,
                         sail_dtype out)
{
    int index = -1;
    sail_value w = need(b, role, layer, &index);
    sail_value bias = bias_role == SAIL__ROLE_COUNT ? SAIL_NONE : param(b, bias_role, layer, NULL);
    sail_attr attr = {.dtype = out, .trans_b = true, .scale = 1};
    const sail__lora_layer *l = index >= 0 ? lora_of(b, index) : NULL;
    sail_value u = SAIL_NONE, pb = SAIL_NONE;
    if (l) { /* before the product itself, so that the two that are summed follow each other */
        sail_dtype t = b->spec->dtype;
        sail_value from = x;
        char name[256];
        snprintf(name, sizeof name, "%s.lora_A", l->module);
        sail_value pa = sail_graph_param(b->g, name, l->param_a, t, l->rank, l->in, b->spec->lora_trainable);
        snprintf(name, sizeof name, "%s.lora_B", l->module);
        pb = sail_graph_param(b->g, name, l->param_b, t, l->out, l->rank, b->spec->lora_trainable);
        if (b->spec->lora_dropout > 0 && b->spec->gradient_of) {
            sail_attr d = {.p = (float)b->spec->lora_dropout, .seed = b->spec->seed, .layer = l->param_a};
            from = add(b, SAIL_OP_DROPOUT, d, 2, (sail_value[]){x, b->dropout});
        }
        sail_attr down = {.dtype = t, .trans_b = true, .scale = 1};
        u = add(b, SAIL_OP_MATMUL, down, 2, (sail_value[]){from, pa});
    }
    sail_value y = add(b, SAIL_OP_MATMUL, attr, 4, (sail_value[]){x, w, bias, residual});
    if (!l)
        return y;
    attr.scale = (float)l->scale;
    return add(b, SAIL_OP_MATMUL, attr, 4, (sail_value[]){u, pb, SAIL_NONE, y});
}

/* The next role is the norm's bias, where the family has layer norms. */
static sail_value norm(builder *b, sail_value x, sail__role role, int layer, int groups, sail_dtype out)
{
    sail_value w = need(b, role, layer, NULL);
    if (b->c->layer_norm) {
        sail_attr l = {.dtype = out, .eps = (float)b->c->norm_eps};
        return add(b, SAIL_OP_LAYER_NORM, l, 3, (sail_value[]){x, w, need(b, (sail__role)(role + 1), layer, NULL)});
    }
    sail_attr a = {.dtype = out, .groups = groups, .eps = (float)b->c->norm_eps, .weight_plus = (float)b->c->norm_plus};
    return add(b, SAIL_OP_RMS_NORM, a, 2, (sail_value[]){x, w});
}

static sail_value rotate(builder *b, sail_value x, int heads, int which)
{
    const sail__rope *r = &b->c->ropes[which];
    sail_attr a = {.dtype = b->spec->dtype, .heads = heads, .head_dim = b->c->head_dim, .rotary = r->rotary};
    return add(b, SAIL_OP_ROPE, a, 3, (sail_value[]){x, b->positions, b->rope[which]});
}

static void project(builder *b, sail_value h, int layer, sail_value *q, sail_value *k, sail_value *v)
{
    const sail__model_config *c = b->c;
    sail_dtype t = b->spec->dtype;
    int64_t nq = (int64_t)c->heads * c->head_dim, nk = (int64_t)c->kv_heads * c->head_dim;
    if (c->fused_qkv) {
        sail_value x = linear(b, h, SAIL__ROLE_QKV, SAIL__ROLE_QKV_BIAS, layer, SAIL_NONE, t);
        *q = sail_graph_columns(b->g, x, 0, nq);
        *k = sail_graph_columns(b->g, x, nq, nk);
        *v = sail_graph_columns(b->g, x, nq + nk, nk);
    } else {
        *q = linear(b, h, SAIL__ROLE_Q, SAIL__ROLE_Q_BIAS, layer, SAIL_NONE, t);
        *k = linear(b, h, SAIL__ROLE_K, SAIL__ROLE_K_BIAS, layer, SAIL_NONE, t);
        *v = linear(b, h, SAIL__ROLE_V, SAIL__ROLE_V_BIAS, layer, SAIL_NONE, t);
    }
    if (c->qk_norm) {
        *q = norm(b, *q, SAIL__ROLE_Q_NORM, layer, c->heads, t);
        *k = norm(b, *k, SAIL__ROLE_K_NORM, layer, c->kv_heads, t);
    }
    *q = rotate(b, *q, c->heads, c->layer[layer].rope);
    *k = rotate(b, *k, c->kv_heads, c->layer[layer].rope);
}

static sail_value cache(builder *b, sail_value x, int layer, int which)
{
    const sail__decoder_spec *s = b->spec;
    char name[64];
    snprintf(name, sizeof name, "%s cache of layer %d", which ? "value" : "key", layer);
    int64_t cols = (int64_t)b->c->kv_heads * b->c->head_dim;
    sail_value kept = sail_graph_param(b->g, name, s->first_cache + 2 * layer + which, s->cache_dtype, SAIL_DIM_KEYS, cols, false);
    return add(b, SAIL_OP_COPY_ROWS, (sail_attr){0}, 3, (sail_value[]){x, b->slots, kept});
}

static sail_value attend(builder *b, sail_value h, int layer)
{
    const sail__model_config *c = b->c;
    sail_value q, k, v;
    project(b, h, layer, &q, &k, &v);
    if (b->spec->cached) {
        k = cache(b, k, layer, 0);
        v = cache(b, v, layer, 1);
    }
    sail_attr a = {.dtype = b->spec->dtype,
                   .heads = c->heads,
                   .kv_heads = c->kv_heads,
                   .head_dim = c->head_dim,
                   .scale = (float)c->attention_scale,
                   .window = c->layer[layer].window,
                   .softcap = (float)c->attention_softcap};
    return add(b, SAIL_OP_ATTENTION, a, 6, (sail_value[]){q, k, v, b->segments, b->ranges, b->tiles});
}

static sail_value mlp(builder *b, sail_value h, int layer, sail_value residual, sail_dtype out)
{
    const sail__model_config *c = b->c;
    sail_dtype t = b->spec->dtype;
    sail_attr a = {.dtype = t, .activation = c->activation};
    sail_value gate, up;
    if (!c->gated) {
        up = linear(b, h, SAIL__ROLE_UP, SAIL__ROLE_UP_BIAS, layer, SAIL_NONE, t);
        up = add(b, SAIL_OP_ACT, a, 1, &up);
        return linear(b, up, SAIL__ROLE_DOWN, SAIL__ROLE_DOWN_BIAS, layer, residual, out);
    }
    if (c->fused_gate_up) {
        sail_value x = linear(b, h, SAIL__ROLE_GATE_UP, SAIL__ROLE_COUNT, layer, SAIL_NONE, t);
        gate = sail_graph_columns(b->g, x, 0, c->ff);
        up = sail_graph_columns(b->g, x, c->ff, c->ff);
    } else {
        gate = linear(b, h, SAIL__ROLE_GATE, SAIL__ROLE_GATE_BIAS, layer, SAIL_NONE, t);
        up = linear(b, h, SAIL__ROLE_UP, SAIL__ROLE_UP_BIAS, layer, SAIL_NONE, t);
    }
    sail_value y = add(b, SAIL_OP_GLU, a, 2, (sail_value[]){gate, up});
    return linear(b, y, SAIL__ROLE_DOWN, SAIL__ROLE_DOWN_BIAS, layer, residual, out);
}

static sail_value plus(builder *b, sail_value x, sail_value y)
{
    return add(b, SAIL_OP_ADD, (sail_attr){.dtype = SAIL_F32}, 2, (sail_value[]){x, y});
}

static sail_value gather(builder *b, sail_value x)
{
    return add(b, SAIL_OP_GATHER_ROWS, (sail_attr){0}, 2, (sail_value[]){x, b->rows});
}

/* One layer: x [tokens, width] f32 -> the same; in the last layer only the rows that the head sees go on. */
static sail_value layer(builder *b, sail_value x, int i, bool last)
{
    const sail__model_config *c = b->c;
    sail_dtype t = b->spec->dtype;
    sail_value h = norm(b, x, SAIL__ROLE_ATTN_NORM, i, 1, t);
    sail_value o = attend(b, h, i);
    if (last) {
        o = gather(b, o);
        x = gather(b, x);
        if (c->shared_norm)
            h = gather(b, h);
        b->dropout = b->row_dropout;
    }
    if (c->parallel && !c->shared_norm)
        h = norm(b, x, SAIL__ROLE_MLP_NORM, i, 1, t);
    if (c->post_norms) {
        sail_value y = linear(b, o, SAIL__ROLE_O, SAIL__ROLE_O_BIAS, i, SAIL_NONE, SAIL_F32);
        x = plus(b, x, norm(b, y, SAIL__ROLE_POST_ATTN_NORM, i, 1, SAIL_F32));
        y = mlp(b, norm(b, x, SAIL__ROLE_MLP_NORM, i, 1, t), i, SAIL_NONE, SAIL_F32);
        return plus(b, x, norm(b, y, SAIL__ROLE_POST_MLP_NORM, i, 1, SAIL_F32));
    }
    x = linear(b, o, SAIL__ROLE_O, SAIL__ROLE_O_BIAS, i, x, SAIL_F32);
    return mlp(b, c->parallel ? h : norm(b, x, SAIL__ROLE_MLP_NORM, i, 1, t), i, x, SAIL_F32);
}

static void inputs(builder *b)
{
    sail_graph *g = b->g;
    b->ids = sail_graph_input(g, "ids", SAIL__IN_IDS, SAIL_I32, SAIL_DIM_TOKENS, 1);
    b->positions = sail_graph_input(g, "positions", SAIL__IN_POSITIONS, SAIL_I32, SAIL_DIM_TOKENS, 1);
    b->segments = sail_graph_input(g, "segments", SAIL__IN_SEGMENTS, SAIL_I32, SAIL_DIM_SEGMENTS, 8);
    b->ranges = sail_graph_input(g, "ranges", SAIL__IN_RANGES, SAIL_I32, SAIL_DIM_RANGES, 4);
    b->tiles = sail_graph_input(g, "tiles", SAIL__IN_TILES, SAIL_I32, SAIL_DIM_TILES, 4);
    b->rows = sail_graph_input(g, "rows", SAIL__IN_ROWS, SAIL_I32, SAIL_DIM_ROWS, 1);
    if (b->spec->head == SAIL__HEAD_LOGPROB)
        b->targets = sail_graph_input(g, "targets", SAIL__IN_TARGETS, SAIL_I32, SAIL_DIM_ROWS, 1);
    if (b->spec->lora_dropout > 0 && b->spec->gradient_of) {
        b->dropout = sail_graph_input(g, "dropout keys", SAIL__IN_DROPOUT, SAIL_I32, SAIL_DIM_TOKENS, 2);
        b->row_dropout = sail_graph_input(g, "dropout keys of rows", SAIL__IN_ROW_DROPOUT, SAIL_I32, SAIL_DIM_ROWS, 2);
    }
    if (b->spec->cached)
        b->slots = sail_graph_input(g, "slots", SAIL__IN_SLOTS, SAIL_I32, SAIL_DIM_TOKENS, 1);
    for (int i = 0; i < b->c->n_ropes; i++)
        b->rope[i] = sail_graph_param(g, "rope table", b->spec->rope_param[i], SAIL_F32, b->spec->positions,
                                      b->c->ropes[i].rotary, false);
}

static sail_value head_bias(builder *b)
{
    return b->c->head_bias && b->spec->head != SAIL__HEAD_SCORE ? need(b, SAIL__ROLE_HEAD_BIAS, -1, NULL) : SAIL_NONE;
}

static void logits_head(builder *b, sail_value x, sail_value w)
{
    const sail__decoder_spec *s = b->spec;
    sail_attr a = {.dtype = SAIL_F32, .trans_b = true, .scale = 1};
    sail_value z = add(b, SAIL_OP_MATMUL, a, 3, (sail_value[]){x, w, head_bias(b)});
    if (s->head != SAIL__HEAD_SAMPLE) {
        sail_graph_output(b->g, z, SAIL__OUT_LOGITS);
        return;
    }
    sail_value params = sail_graph_input(b->g, "sampling", SAIL__IN_SAMPLE_PARAMS, SAIL_F32, SAIL_DIM_ROWS, 8);
    sail_value keys = sail_graph_input(b->g, "sampling keys", SAIL__IN_SAMPLE_KEYS, SAIL_I32, SAIL_DIM_ROWS, 6);
    sail_value past = s->history ? sail_graph_input(b->g, "history", SAIL__IN_HISTORY, SAIL_I32, SAIL_DIM_ROWS, s->history) : SAIL_NONE;
    sail_attr sample = {.softcap = (float)b->c->final_softcap};
    sail_value ids = add(b, SAIL_OP_SAMPLE, sample, 4, (sail_value[]){z, params, keys, past});
    sail_graph_output(b->g, ids, SAIL__OUT_IDS);
    sail_graph_output(b->g, ids + 1, SAIL__OUT_LOGP);
    sail_graph_output(b->g, ids + 2, SAIL__OUT_SAMPLED);
}

static sail_value gradient_value(void *user, sail_value p)
{
    builder *b = user;
    sail_value_info info;
    sail_graph_value_info(b->g, p, &info);
    int index = b->spec->gradient_of(b->spec->user, info.slot);
    if (index < 0)
        return SAIL_NONE;
    return sail_graph_param(b->g, "gradient", index, SAIL_F32, info.rows, info.cols, false);
}

/* Scores [rows, labels], in float32 from the last norm on. */
static sail_value score_head(builder *b, sail_value x, sail_value w)
{
    sail_attr a = {.dtype = SAIL_F32, .trans_b = true, .scale = 1};
    sail_value bias = b->c->score_bias ? need(b, SAIL__ROLE_SCORE_BIAS, -1, NULL) : SAIL_NONE;
    sail_value z = add(b, SAIL_OP_MATMUL, a, 3, (sail_value[]){x, w, bias});
    sail_graph_output(b->g, z, SAIL__OUT_SCORES);
    return z;
}

static sail_code derivative(builder *b, sail_value out, sail_err *err)
{
    sail_value outputs[3], seeds[3];
    int n = 0;
    outputs[n] = out;
    if (b->spec->head == SAIL__HEAD_SCORE) {
        seeds[n] = sail_graph_input(b->g, "d/d score", SAIL__IN_G_SCORES, SAIL_F32, SAIL_DIM_ROWS, b->c->labels);
        SAIL_TRY(sail_graph_status(b->g, err));
        return sail_graph_backward(b->g, outputs, seeds, 1, gradient_value, b, b->spec->recompute, err);
    }
    seeds[n++] = sail_graph_input(b->g, "d/d logp", SAIL__IN_G_LOGP, SAIL_F32, SAIL_DIM_ROWS, 1);
    if (b->spec->grad_want & SAIL_WANT_ENTROPY) {
        outputs[n] = out + 1;
        seeds[n++] = sail_graph_input(b->g, "d/d entropy", SAIL__IN_G_ENTROPY, SAIL_F32, SAIL_DIM_ROWS, 1);
    }
    if (b->spec->grad_want & SAIL_WANT_LSS) {
        outputs[n] = out + 2;
        seeds[n++] = sail_graph_input(b->g, "d/d log sum p^2", SAIL__IN_G_LSS, SAIL_F32, SAIL_DIM_ROWS, 1);
    }
    SAIL_TRY(sail_graph_status(b->g, err));
    return sail_graph_backward(b->g, outputs, seeds, n, gradient_value, b, b->spec->recompute, err);
}

static sail_code build(builder *b, sail_err *err)
{
    const sail__decoder_spec *s = b->spec;
    const sail__model_config *c = b->c;
    inputs(b);
    sail_value table = need(b, SAIL__ROLE_EMBED, -1, NULL);
    sail_attr e = {.dtype = SAIL_F32, .scale = (float)c->embed_scale};
    sail_value x = add(b, SAIL_OP_EMBED, e, 2, (sail_value[]){table, b->ids});
    for (int i = 0; i < c->layers; i++) {
        sail_graph_block(b->g, i);
        x = layer(b, x, i, i + 1 == c->layers);
    }
    sail_graph_block(b->g, -1);
    x = norm(b, x, SAIL__ROLE_FINAL_NORM, -1, 1, s->head == SAIL__HEAD_SCORE ? SAIL_F32 : s->dtype); /* score heads are float32 */
    sail_value w = s->head == SAIL__HEAD_SCORE ? need(b, SAIL__ROLE_SCORE, -1, NULL)
                   : c->tied                   ? table
                                               : need(b, SAIL__ROLE_HEAD, -1, NULL);
    SAIL_TRY(sail_graph_status(b->g, err)); /* a parameter that found no memory is not a missing one */
    if (b->missing)
        return sail_fail(err, SAIL_E_FORMAT, "%s: the model has no parameter for %s of layer %d", c->model_type, b->missing,
                         b->missing_layer);
    if (s->head == SAIL__HEAD_SCORE) {
        sail_value scores = score_head(b, x, w);
        return s->gradient_of ? derivative(b, scores, err) : sail_graph_status(b->g, err);
    }
    if (s->head == SAIL__HEAD_HIDDEN || s->head == SAIL__HEAD_CONTRAST)
        sail_graph_output(b->g, x, SAIL__OUT_HIDDEN);
    if (s->head == SAIL__HEAD_HIDDEN)
        return sail_graph_status(b->g, err);
    if (s->head != SAIL__HEAD_LOGPROB) {
        logits_head(b, x, w);
        return sail_graph_status(b->g, err);
    }
    sail_attr h = {.scale = 1, .softcap = (float)c->final_softcap, .want = s->want};
    sail_value out = add(b, SAIL_OP_HEAD, h, 4, (sail_value[]){x, w, b->targets, head_bias(b)});
    sail_graph_output(b->g, out, SAIL__OUT_LOGP);
    if (s->want & SAIL_WANT_ENTROPY)
        sail_graph_output(b->g, out + 1, SAIL__OUT_ENTROPY);
    if (s->want & SAIL_WANT_LSS)
        sail_graph_output(b->g, out + 2, SAIL__OUT_LSS);
    if (s->gradient_of)
        SAIL_TRY(derivative(b, out, err));
    return sail_graph_status(b->g, err);
}

sail_code sail__decoder_build(const sail__decoder_spec *spec, sail_graph **out, sail_err *err)
{
    *out = NULL;
    sail_graph *g = sail_graph_new();
    if (!g)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a graph");
    builder b = {.spec = spec, .c = spec->config, .g = g, .targets = SAIL_NONE, .dropout = SAIL_NONE, .row_dropout = SAIL_NONE, .slots = SAIL_NONE};
    sail_code code = build(&b, err);
    if (code != SAIL_OK) {
        sail_graph_free(g);
        return code;
    }
    *out = g;
    return SAIL_OK;
}
