/* session.c - opening a model with its tokenizer, template, adapters and reference; writing what was trained. */
#include "session.h"

#include <math.h>
#include <string.h>

#include "../io/hf_config.h"
#include "../io/hub.h"
#include "../sail/rng.h"
#include "score_head.h"

/* ---- new models: parameters drawn from the seed ---- */

typedef struct fresh {
    uint64_t seed;
    double deviation;
} fresh;

static sail_code fresh_dtype(void *self, const char *name, sail_dtype *out, sail_err *err)
{
    *out = SAIL_F32;
    return SAIL_OK;
}

typedef struct fresh_source {
    sail__param_source source;
    fresh f;
    const sail__param *params;
    size_t n;
} fresh_source;

static sail_code fresh_read(void *self, const char *name, int64_t first, int64_t count, float *out, sail_err *err)
{
    const fresh_source *s = self;
    for (size_t i = 0; i < s->n; i++) {
        const sail__param *p = &s->params[i];
        if (strcmp(p->name, name) != 0)
            continue;
        bool norm = p->vector && !sail__ends_with(name, "bias");
        for (int64_t k = 0; k < count * p->cols; k++)
            out[k] = p->vector ? (norm ? 1.0f : 0.0f)
                               : (float)(s->f.deviation * sail_rng_normal(s->f.seed, SAIL_RNG_INIT, 0, i, (uint64_t)(first * p->cols + k)));
        return SAIL_OK;
    }
    return sail_fail(err, SAIL_E_NOTFOUND, "a new model has no parameter %s", name);
}

static sail_code fresh_raw(void *self, const char *name, int64_t first, int64_t count, void *out, sail_err *err)
{
    return fresh_read(self, name, first, count, out, err);
}

static sail_code new_config(sail__session *s, const sail__init_section *o, sail_err *err)
{
    sail_arena *a = s->arena;
    size_t n_ends;
    const int32_t *ends = sail__tokenizer_ends(s->tokenizer, &n_ends);
    sail_buf json = {0};
    int64_t ff = o->ff ? o->ff : (o->width * 8 / 3 + 31) / 32 * 32;
    sail__buf_printf(&json,
                     "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":%lld,\"num_hidden_layers\":%lld,"
                     "\"num_attention_heads\":%lld,\"num_key_value_heads\":%lld,\"intermediate_size\":%lld,\"vocab_size\":%d,"
                     "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"max_position_embeddings\":%lld,\"tie_word_embeddings\":true,"
                     "\"hidden_act\":\"silu\",\"attention_bias\":false,\"mlp_bias\":false,\"torch_dtype\":\"float32\"",
                     (long long)o->width, (long long)o->layers, (long long)o->heads, (long long)(o->kv_heads ? o->kv_heads : o->heads),
                     (long long)ff, sail__tokenizer_size(s->tokenizer), (long long)o->positions);
    for (size_t i = 0; i < n_ends; i++)
        sail__buf_printf(&json, "%s%d", i ? "," : ",\"eos_token_id\":[", ends[i]);
    sail__buf_str(&json, n_ends ? "]}" : "}");
    sail_node *node = NULL;
    sail__model_config *c = sail__arena_alloc(a, sizeof *c);
    sail_code code = json.oom || !c ? sail_fail(err, SAIL_E_NOMEM, "out of memory")
                                    : sail__json_parse(a, json.data, json.len, "model.init", 1, &node, err);
    if (code == SAIL_OK)
        code = sail__config_from_node(a, node, NULL, c, err);
    sail__buf_free(&json);
    s->config = c;
    return code;
}

static sail_code new_model(sail__session *s, const sail__session_spec *spec, sail__param_source *source, sail_err *err)
{
    sail__init_section o;
    sail_problems problems = {.arena = s->arena};
    if (!sail__init_parse(spec->model->init, &o, &problems))
        return sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    if (!s->tokenizer)
        return sail_fail(err, SAIL_E_RECIPE, "model.init needs model.tokenizer: a tokenizer.json");
    SAIL_TRY(new_config(s, &o, err));
    if (spec->labels > 0)
        SAIL_TRY(sail__score_head_config(s->arena, s->config, spec->labels, s->tokenizer, &s->config, err));
    fresh_source *f = sail__arena_alloc(s->arena, sizeof *f);
    if (!f)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__param *params;
    SAIL_TRY(sail__model_params(s->arena, s->config, &params, &f->n, err));
    f->params = params;
    f->f = (fresh){spec->seed, o.deviation};
    f->source = (sail__param_source){f, fresh_dtype, fresh_read, fresh_raw};
    *source = f->source;
    return SAIL_OK;
}

/* ---- adapters ---- */

/* An adapter that was read from dir, put on the model. */
static sail_code adapter_fits(sail__session *s, const char *dir, const sail__peft *read, sail__adapter *out, sail_err *err)
{
    size_t n;
    sail__param *params;
    sail__peft in_order = *read, *p = &in_order;
    SAIL_TRY(sail__model_params(s->arena, s->config, &params, &n, err));
    SAIL_TRY(sail__peft_fits(p, params, n, dir, err));
    SAIL_TRY(sail__peft_reorder(s->arena, p, s->config, params, n, false, err));
    sail__adapter_layer *l = sail__arena_array(s->arena, p->n_modules + 1, sizeof *l);
    sail__adapter_saved *v = sail__arena_array(s->arena, p->n_saved + 1, sizeof *v);
    if (!l || !v)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for the adapter in %s", dir);
    for (size_t i = 0; i < p->n_modules; i++)
        l[i] = (sail__adapter_layer){p->modules[i].module, p->modules[i].rank, p->modules[i].scale, p->modules[i].a, p->modules[i].b};
    for (size_t i = 0; i < p->n_saved; i++)
        v[i] = (sail__adapter_saved){p->saved[i].name, p->saved[i].data};
    *out = (sail__adapter){l, p->n_modules, v, p->n_saved, p->dropout};
    return SAIL_OK;
}

static sail_code target_names(sail__session *s, const sail_node *n, const char ***names, size_t *count, sail_err *err)
{
    *count = 0;
    if (!n || n->kind == SAIL_NODE_NULL || (n->kind == SAIL_NODE_STRING && sail__name_equal(n->string.data, "all-linear")))
        return SAIL_OK;
    size_t items = n->kind == SAIL_NODE_LIST ? n->list.n : 1;
    *names = sail__arena_array(s->arena, items + 1, sizeof **names);
    if (!*names)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < items; i++)
        SAIL_TRY(sail__node_as_string(n->kind == SAIL_NODE_LIST ? n->list.items[i] : n, "model.adapter.targets", &(*names)[i], err));
    *count = items;
    return items ? SAIL_OK : sail_fail(err, SAIL_E_RECIPE, "model.adapter.targets is empty: give all-linear or names such as q_proj");
}

static sail_code adapter_new(sail__session *s, const sail__adapter_section *o, const char *base, sail__peft *p, sail__adapter *out,
                             sail_err *err)
{
    const char **targets = NULL, **modules;
    size_t n_targets, n;
    SAIL_TRY(target_names(s, o->targets, &targets, &n_targets, err));
    for (size_t i = 0; i < n_targets; i++) {
        SAIL_TRY(sail__linear_modules(s->arena, s->config, &targets[i], 1, &modules, &n, err));
        if (n == 0)
            return sail_fail(err, SAIL_E_RECIPE, "model.adapter.targets: no linear layer is called `%s`", targets[i]);
    }
    SAIL_TRY(sail__linear_modules(s->arena, s->config, targets, n_targets, &modules, &n, err));
    sail__adapter_layer *l = sail__arena_array(s->arena, n + 1, sizeof *l);
    if (!l)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a new adapter");
    double scale = o->alpha / (o->rslora ? sqrt((double)o->rank) : (double)o->rank);
    for (size_t i = 0; i < n; i++)
        l[i] = (sail__adapter_layer){modules[i], o->rank, scale, NULL, NULL};
    *out = (sail__adapter){l, n, NULL, 0, o->dropout};
    *p = (sail__peft){.rank = o->rank, .alpha = o->alpha, .dropout = o->dropout, .rslora = o->rslora, .base = base,
                      .all_linear = n_targets == 0, .targets = (const char *const *)targets, .n_targets = n_targets};
    return SAIL_OK;
}

/* ---- opening ---- */

static sail_code open_text(sail__session *s, const sail__session_spec *spec, sail_err *err)
{
    const sail__model_section *m = spec->model;
    const char *json = s->weights ? sail__weights_tokenizer_json(s->weights) : NULL;
    const sail__gguf *gguf = s->weights ? sail__weights_gguf(s->weights) : NULL;
    if (m->tokenizer)
        SAIL_TRY(sail__tokenizer_open(m->tokenizer, &s->tokenizer, err));
    else if (json)
        SAIL_TRY(sail__tokenizer_open(json, &s->tokenizer, err));
    else if (gguf && sail__gguf_get(gguf, "tokenizer.ggml.tokens"))
        SAIL_TRY(sail__tokenizer_from_gguf(gguf, &s->tokenizer, err));
    if (s->tokenizer)
        return sail__template_for(s->tokenizer, m->template_name, m->system, &s->chat, err);
    return spec->need_tokenizer ? sail_fail(err, SAIL_E_NOTFOUND, "%s has no tokenizer.json; name one with model.tokenizer", m->path) : SAIL_OK;
}

/* Which reference the recipe's choice and the kind of training amount to. */
static sail_code reference_kind(const sail__session_spec *spec, bool adapter_continued, int *kind, sail_err *err)
{
    *kind = spec->model->reference;
    if (*kind == SAIL__REF_AUTO)
        *kind = spec->train == SAIL__TRAIN_ADAPTER ? (adapter_continued ? SAIL__REF_FROZEN_ADAPTER : SAIL__REF_ADAPTER_OFF)
                : spec->fresh_reference            ? SAIL__REF_COPY
                                                   : SAIL__REF_CACHED;
    bool adapter = spec->train == SAIL__TRAIN_ADAPTER;
    if ((*kind == SAIL__REF_ADAPTER_OFF && !adapter) || (*kind == SAIL__REF_FROZEN_ADAPTER && !adapter_continued))
        return sail_fail(err, SAIL_E_RECIPE, "model.reference: %s needs %s",
                         *kind == SAIL__REF_ADAPTER_OFF ? "adapter_off" : "frozen_adapter",
                         *kind == SAIL__REF_ADAPTER_OFF ? "a model.adapter" : "a model.adapter_path to start from");
    if (*kind == SAIL__REF_CACHED && spec->fresh_reference)
        return sail_fail(err, SAIL_E_RECIPE, "model.reference: cached log-probabilities cannot serve fresh responses; use `copy`");
    return SAIL_OK;
}

/* Two models whose weights can stand for each other in one graph. */
static bool same_shape(sail_arena *a, const sail__model_config *x, const sail__model_config *y)
{
    sail__param *p, *q;
    size_t n, m;
    sail_err ignored;
    if (sail__model_params(a, x, &p, &n, &ignored) != SAIL_OK || sail__model_params(a, y, &q, &m, &ignored) != SAIL_OK || n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(p[i].name, q[i].name) != 0 || p[i].rows != q[i].rows || p[i].cols != q[i].cols)
            return false;
    return x->family == y->family && x->heads == y->heads && x->kv_heads == y->kv_heads && x->n_ropes == y->n_ropes &&
           x->ropes[0].theta == y->ropes[0].theta && x->activation == y->activation && x->tied == y->tied;
}

/* What spec->reference_path names: an adapter on the same model, or another model's weights. */
static sail_code named_reference(sail__session *s, const char *path, sail__adapter *adapter, const sail__param_source **source, sail_err *err)
{
    sail__peft p;
    *source = NULL;
    if (sail__file_exists(sail__path_join(s->arena, path, "adapter_config.json"))) {
        SAIL_TRY(sail__peft_read(s->arena, path, &p, err));
        return adapter_fits(s, path, &p, adapter, err);
    }
    SAIL_TRY(sail__weights_open(s->ctx, path, &s->reference_weights, err));
    if (!same_shape(s->arena, s->config, sail__weights_config(s->reference_weights)))
        return sail_fail(err, SAIL_E_ARG, "%s cannot be the reference of %s: it is a model of another shape", path, s->path);
    *source = sail__weights_source(s->reference_weights);
    return SAIL_OK;
}

/* What an adapter says it belongs to: of a model of the Hugging Face cache its name, which means the same everywhere. */
static const char *base_name(sail__session *s)
{
    const char *repo = sail__is_dir(s->path) ? sail__hub_repo_of(s->arena, s->path) : NULL;
    return repo ? repo : s->path;
}

/* as_stored has nothing to keep where nothing is quantised. */
static void warn_of_as_stored(const sail__session *s, const sail__param_source *source)
{
    size_t n;
    const sail__param *params = sail__weights_params(s->weights, &n);
    sail_dtype dtype;
    sail_err ignored;
    for (size_t i = 0; i < n; i++)
        if (source->dtype(source->self, params[i].name, &dtype, &ignored) == SAIL_OK && sail_dtype_is_quantised(dtype))
            return;
    sail_log(s->ctx, SAIL_LOG_WARN, "model.weights: as_stored keeps quantised weights as they are, and %s has none: its weights are converted as without it. "
             "GGUF files of types such as Q8_0, Q4_1 or Q4_K have", s->path);
}

static sail_code open_model(sail__session *s, const sail__session_spec *spec, const sail__param_source *source, sail_err *err)
{
    const sail__model_section *m = spec->model;
    sail__adapter adapter = {0}, reference = {0};
    bool continued = m->adapter_path != NULL;
    if (m->weights == SAIL__WEIGHTS_AS_STORED && s->weights)
        warn_of_as_stored(s, source);
    if (continued) {
        SAIL_TRY(adapter_fits(s, m->adapter_path, &s->trained, &adapter, err));
        reference = adapter;
    } else if (spec->train == SAIL__TRAIN_ADAPTER) {
        SAIL_TRY(adapter_new(s, spec->adapter, base_name(s), &s->trained, &adapter, err));
    }
    if (spec->train == SAIL__TRAIN_ADAPTER && s->config->labels > 0)
        SAIL_TRY(sail__score_head_save(s->arena, s->config, source, &s->trained, &adapter, err));
    s->has_adapter = adapter.layers != NULL;
    int kind = SAIL__REF_ADAPTER_OFF;
    if (spec->reference && spec->train != SAIL__TRAIN_NOTHING)
        SAIL_TRY(reference_kind(spec, continued, &kind, err));
    const sail__param_source *other = NULL;
    if (spec->reference_path)
        SAIL_TRY(named_reference(s, spec->reference_path, &reference, &other, err));
    s->reference_is_policy = spec->train == SAIL__TRAIN_ALL       ? kind != SAIL__REF_COPY
                             : spec->train == SAIL__TRAIN_NOTHING && !s->has_adapter && !spec->reference_path;
    sail__model_spec ms = {.config = s->config,
                           .source = source,
                           .dtype = m->dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32,
                           .as_stored = m->weights == SAIL__WEIGHTS_AS_STORED,
                           .train = spec->train,
                           .adapter = s->has_adapter ? &adapter : NULL,
                           .reference_adapter = (spec->reference_path && !other) || (continued && kind == SAIL__REF_FROZEN_ADAPTER)
                                                    ? &reference : NULL,
                           .reference_copy = other || (spec->train == SAIL__TRAIN_ALL && spec->reference && kind == SAIL__REF_COPY),
                           .reference_source = other,
                           .optimizer = spec->optimizer,
                           .decay_all = spec->decay_all,
                           .recompute = m->recompute,
                           .grad_want = spec->grad_want,
                           .seed = spec->seed};
    return sail__model_new(s->rt, &ms, &s->model, err);
}

/* The head that is wanted, or that the adapter brings along, on a model that has none. */
static sail_code score_head(sail__session *s, const sail__session_spec *spec, sail__param_source *source, sail_err *err)
{
    int32_t brought = spec->model->adapter_path ? sail__score_head_of(&s->trained, s->config) : 0;
    int32_t labels = spec->labels ? spec->labels : brought;
    if (brought && labels != brought)
        return sail_fail(err, SAIL_E_RECIPE, "%s has a score head of %d numbers, where %d are asked for", spec->model->adapter_path, brought, labels);
    s->new_head = labels > 0 && s->config->labels == 0;
    if (labels > 0 && sail__score_head_config(s->arena, s->config, labels, s->tokenizer, &s->config, err) != SAIL_OK)
        return sail_fail_in(err, "%s", s->path);
    return s->new_head ? sail__score_head_source(s->arena, s->config, source, spec->seed, source, err) : SAIL_OK;
}

static sail_code open_all(sail__session *s, const sail__session_spec *spec, sail_err *err)
{
    const sail__model_section *m = spec->model;
    sail__param_source source;
    if ((m->path != NULL) == (m->init != NULL))
        return sail_fail(err, SAIL_E_RECIPE, m->path ? "give either model.path or model.init" : "model.path is not set: a Hugging Face directory or a GGUF file");
    SAIL_TRY(sail__runtime_open(s->ctx, spec->backend, m->device, &s->rt, err));
    s->path = m->path ? sail__arena_strdup(s->arena, m->path) : "";
    if (!s->path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %s", m->path);
    if (m->path) {
        SAIL_TRY(sail__weights_open(s->ctx, m->path, &s->weights, err));
        s->config = sail__weights_config(s->weights);
        source = *sail__weights_source(s->weights);
        SAIL_TRY(open_text(s, spec, err));
        if (m->adapter_path)
            SAIL_TRY(sail__peft_read(s->arena, m->adapter_path, &s->trained, err));
        SAIL_TRY(score_head(s, spec, &source, err));
    } else {
        SAIL_TRY(open_text(s, spec, err));
        SAIL_TRY(new_model(s, spec, &source, err));
        if (m->adapter_path)
            SAIL_TRY(sail__peft_read(s->arena, m->adapter_path, &s->trained, err));
    }
    return open_model(s, spec, &source, err);
}

sail_code sail__session_open(sail_ctx *ctx, const sail__session_spec *spec, sail__session **out, sail_err *err)
{
    *out = NULL;
    sail__session *s = sail__calloc(1, sizeof *s);
    if (s)
        s->arena = sail__arena_new();
    if (!s || !s->arena) {
        sail__free(s);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    s->ctx = ctx;
    sail_code code = open_all(s, spec, err);
    if (code != SAIL_OK) {
        sail__session_close(s);
        return code;
    }
    *out = s;
    return SAIL_OK;
}

void sail__session_close(sail__session *s)
{
    if (!s)
        return;
    sail__model_free(s->model);
    sail__template_free(s->chat);
    sail__tokenizer_free(s->tokenizer);
    sail__weights_close(s->reference_weights);
    sail__weights_close(s->weights);
    sail__runtime_close(s->rt);
    sail__arena_free(s->arena);
    sail__free(s);
}

sail_code sail__session_hash(sail__session *s, sail_err *err)
{
    if (s->base_hash[0])
        return SAIL_OK;
    if (s->weights)
        return sail__weights_hash(s->weights, s->base_hash, err);
    strcpy(s->base_hash, "new");
    return SAIL_OK;
}

const int32_t *sail__session_ends(const sail__session *s, int *n)
{
    int32_t *ends = sail__arena_array(s->arena, (size_t)s->config->n_end_ids + 1, sizeof *ends);
    if (!ends) {
        *n = s->config->n_end_ids;
        return s->config->end_ids;
    }
    memcpy(ends, s->config->end_ids, (size_t)s->config->n_end_ids * sizeof *ends);
    *n = s->config->n_end_ids;
    int32_t end = s->tokenizer ? sail__template_end_id(s->chat, s->tokenizer) : -1;
    bool known = end < 0;
    for (int i = 0; i < *n; i++)
        known = known || ends[i] == end;
    if (!known)
        ends[(*n)++] = end;
    return ends;
}

/* ---- writing ---- */

/* The policy's adapter as it is now, rows in the model's order, in the arena (NULL: there was no memory for one). */
static sail_code adapter_now(sail__session *s, sail_arena *a, const char *path, sail__peft *p, sail_err *err)
{
    size_t n = sail__model_adapter_layers(s->model);
    *p = s->trained;
    sail__lora_module *modules = a ? sail__arena_array(a, n + 1, sizeof *modules) : NULL;
    sail__saved_module *saved = a ? sail__arena_array(a, p->n_saved + 1, sizeof *saved) : NULL;
    sail_code code = modules && saved ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory writing %s", path);
    for (size_t i = 0; i < n && code == SAIL_OK; i++) {
        const sail__lora_layer *l = sail__model_adapter_layer(s->model, i);
        float *wa = sail__arena_array(a, (size_t)(l->rank * l->in), sizeof *wa), *wb = sail__arena_array(a, (size_t)(l->out * l->rank), sizeof *wb);
        code = wa && wb ? sail__model_adapter_read(s->model, i, wa, wb, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory writing %s", path);
        double alpha = l->scale * (p->rslora ? sqrt((double)l->rank) : (double)l->rank);
        modules[i] = (sail__lora_module){l->module, l->rank, l->in, l->out, alpha, l->scale, wa, wb};
    }
    for (size_t i = 0; i < p->n_saved && code == SAIL_OK; i++) {
        saved[i] = p->saved[i];
        float *data = sail__arena_array(a, (size_t)(saved[i].rows * saved[i].cols), sizeof *data);
        code = data ? sail__model_read(s->model, SAIL__POLICY, saved[i].name, false, 0, saved[i].rows, data, err)
                    : sail_fail(err, SAIL_E_NOMEM, "out of memory writing %s", path);
        saved[i].data = data;
    }
    p->modules = modules;
    p->n_modules = n;
    p->saved = saved;
    return code;
}

static sail_code save_adapter(sail__session *s, const char *dir, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__peft p;
    sail_code code = adapter_now(s, a, dir, &p, err);
    sail__param *params;
    size_t n_params;
    if (code == SAIL_OK)
        code = sail__model_params(a, s->config, &params, &n_params, err);
    if (code == SAIL_OK)
        code = sail__peft_reorder(a, &p, s->config, params, n_params, true, err);
    if (code == SAIL_OK)
        code = sail__peft_write(dir, &p, SAIL_F32, err);
    sail__arena_free(a);
    return code;
}

static sail_code merged_rows(void *user, const sail__param *p, int64_t first, int64_t count, float *out, sail_err *err)
{
    sail__session *s = user;
    return sail__model_read(s->model, SAIL__POLICY, p->name, true, first, count, out, err);
}

static sail__export merged(sail__session *s, sail_dtype dtype)
{
    sail__export e = {0};
    if (s->weights) {
        sail__export_from(&e, s->weights);
        e.new_head = s->new_head;
    } else {
        e.files_from = sail__path_dir(s->arena, sail__tokenizer_origin(s->tokenizer));
    }
    e.config = s->config;
    e.tokenizer = s->tokenizer;
    e.name = sail__path_base(s->path);
    e.dtype = dtype;
    e.rows = merged_rows;
    e.user = s;
    return e;
}

sail_code sail__session_save_merged(sail__session *s, const char *dir, sail_dtype dtype, sail_err *err)
{
    const sail__export e = merged(s, dtype);
    return sail__export_model(dir, &e, err);
}

sail_code sail__session_save_gguf(sail__session *s, const char *path, sail_dtype dtype, const char *pre, sail_err *err)
{
    sail__export e = merged(s, dtype);
    e.pre = pre;
    for (int32_t i = 0; i < s->config->layers && s->config->family->gguf_period == 0; i++)
        if (s->config->layer[i].window) {
            sail_log(s->ctx, SAIL_LOG_WARN, "%s: attention has a window of %d tokens; llama.cpp computes architecture %s without", path,
                     s->config->layer[i].window, s->config->family->gguf);
            break;
        }
    if (!s->tokenizer)
        sail_log(s->ctx, SAIL_LOG_WARN, "%s: the model has no tokenizer: what is written takes token ids only", path);
    const int fits = s->tokenizer && pre ? sail__tokenizer_pre_fits(s->tokenizer, pre) : 1;
    if (fits != 1)
        sail_log(s->ctx, SAIL_LOG_WARN, "%s: %s `%s`: whether llama.cpp splits text as this model was taught is for you to see", path,
                 fits ? "sail knows no pre-tokenizer" : "what tokenizer.json says is not what sail knows as", pre);
    return sail__export_gguf(path, &e, err);
}

sail_code sail__session_save_gguf_lora(sail__session *s, const char *path, sail_dtype dtype, sail_err *err)
{
    const sail__export e = merged(s, dtype);
    sail_arena *a = sail__arena_new();
    sail__peft p;
    sail_code code = adapter_now(s, a, path, &p, err);
    if (code == SAIL_OK)
        code = sail__export_gguf_lora(path, &e, &p, err);
    sail__arena_free(a);
    return code;
}

sail_code sail__session_save(sail__session *s, const char *dir, sail_err *err)
{
    if (s->has_adapter)
        return save_adapter(s, dir, err);
    return sail__session_save_merged(s, dir, SAIL_F32, err);
}
