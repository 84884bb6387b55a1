/* model.c - weights and adapters in device memory, and the passes over a batch. */
#include "model_impl.h"

#include <math.h>
#include <string.h>

#include "../sail/rng.h"

enum { DEFAULT_POSITIONS = 32768 };

/* ---- parameters ---- */

static int bind_new(sail__model *m, sail_tensor t, bool owned)
{
    if (m->n_bind == m->cap_bind)
        return -1; /* counted beforehand */
    m->bind[m->n_bind] = t;
    m->owned[m->n_bind] = owned;
    m->gradient[m->n_bind] = m->entry[m->n_bind] = -1;
    return m->n_bind++;
}

static size_t lora_count(const sail__adapter *a) { return a ? a->n_layers : 0; }
static size_t saved_count(const sail__adapter *a) { return a ? a->n_saved : 0; }

static sail_code reserve(sail__model *m, sail_err *err)
{
    const sail__model_spec *s = &m->spec;
    size_t n = 4 * m->n_params + 4 * (lora_count(s->adapter) + lora_count(s->reference_adapter)) + 8 +
               2 * (saved_count(s->adapter) + saved_count(s->reference_adapter));
    m->cap_bind = (int)n;
    m->bind = sail__arena_array(m->arena, n, sizeof *m->bind);
    m->owned = sail__arena_array(m->arena, n, sizeof *m->owned);
    m->gradient = sail__arena_array(m->arena, n, sizeof *m->gradient);
    m->entry = sail__arena_array(m->arena, n, sizeof *m->entry);
    m->dtypes = sail__arena_array(m->arena, m->n_params, sizeof *m->dtypes);
    m->trainable = sail__arena_array(m->arena, m->n_params, sizeof *m->trainable);
    return m->bind && m->owned && m->gradient && m->entry && m->dtypes && m->trainable
               ? SAIL_OK
               : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static int param_index(const sail__model *m, const char *name)
{
    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* The parameter that an adapter's pair belongs to. */
static sail_code adapted_param(const sail__model *m, const char *module, int *p, sail_err *err)
{
    const char *name = sail__arena_printf(m->arena, "%s.weight", module);
    if (!name)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    *p = param_index(m, name);
    return *p >= 0 ? SAIL_OK : sail_fail(err, SAIL_E_ARG, "the model has no module %s to put an adapter on", module);
}

/* Copy a parameter's rows from the source to device memory, some at a time: as they are stored, or as values. */
static sail_code load_stored(sail__model *m, const sail__param_source *from, const sail__param *p, const sail_tensor *t, sail_err *err)
{
    const size_t row = sail_dtype_bytes(t->dtype, (uint64_t)p->cols);
    int64_t step = (int64_t)((4u << 20) / (row ? row : 1));
    step = step < 1 ? 1 : step > p->rows ? p->rows : step;
    void *rows = sail__malloc((size_t)step * row + 1);
    if (!rows)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory reading %s", p->name);
    sail_code code = SAIL_OK;
    for (int64_t r = 0; r < p->rows && code == SAIL_OK; r += step) {
        sail_tensor part = *t;
        part.offset += (uint64_t)r * row;
        part.rows = p->rows - r < step ? p->rows - r : step;
        code = from->read_raw(from->self, p->name, r, part.rows, rows, err);
        if (code == SAIL_OK)
            code = sail__tensor_put(m->rt, &part, rows, err);
    }
    sail__free(rows);
    return code;
}

static sail_code load(sail__model *m, const sail__param_source *from, const sail__param *p, const sail_tensor *t, sail_err *err)
{
    int64_t step = p->cols > 0 ? (int64_t)(4u << 20) / p->cols : 1;
    step = step < 1 ? 1 : step > p->rows ? p->rows : step;
    float *rows = sail__malloc((size_t)step * (size_t)p->cols * sizeof *rows + 1);
    if (!rows)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory reading %s", p->name);
    sail_code code = SAIL_OK;
    for (int64_t r = 0; r < p->rows && code == SAIL_OK; r += step) {
        int64_t n = p->rows - r < step ? p->rows - r : step;
        sail_tensor part = *t;
        part.offset += sail_dtype_bytes(t->dtype, (uint64_t)(r * t->ld));
        part.rows = n;
        code = from->read_f32(from->self, p->name, r, n, rows, err);
        if (code == SAIL_OK)
            code = sail__tensor_put_f32(m->rt, &part, rows, err);
    }
    sail__free(rows);
    return code;
}

static sail_code new_base(sail__model *m, const sail__param_source *from, const sail__param *p, sail_dtype type, int *index, sail_err *err)
{
    sail_tensor t;
    sail_dtype stored;
    SAIL_TRY(from->dtype(from->self, p->name, &stored, err));
    SAIL_TRY(sail__tensor_alloc(m->rt, type, p->rows, p->cols, &t, err));
    *index = bind_new(m, t, true);
    return stored == type ? load_stored(m, from, p, &t, err) : load(m, from, p, &t, err);
}

/* Vectors and score heads are float32 whatever the rest is. */
static bool always_f32(const sail__param *p) { return p->vector || p->role == SAIL__ROLE_SCORE || p->role == SAIL__ROLE_SCORE_BIAS; }

static sail_dtype compute_dtype(const sail__model *m, const sail__param *p) { return always_f32(p) ? SAIL_F32 : m->spec.dtype; }

static bool replaces(const sail__adapter *a, const char *name)
{
    for (size_t i = 0; i < saved_count(a); i++)
        if (strcmp(a->saved[i].name, name) == 0)
            return true;
    return false;
}

sail_code sail__frozen_dtype(const sail__model *m, const sail__param *p, sail_dtype dtype, bool as_stored, sail_dtype *out, sail_err *err)
{
    const sail__model_spec *s = &m->spec;
    sail_dtype stored, other;
    *out = always_f32(p) ? SAIL_F32 : dtype;
    if (!as_stored || always_f32(p) || replaces(s->adapter, p->name) || replaces(s->reference_adapter, p->name))
        return SAIL_OK;
    SAIL_TRY(s->source->dtype(s->source->self, p->name, &stored, err));
    other = stored;
    if (s->reference_copy && s->reference_source)
        SAIL_TRY(s->reference_source->dtype(s->reference_source->self, p->name, &other, err));
    if (sail_dtype_is_quantised(stored) && stored == other)
        *out = stored;
    return SAIL_OK;
}

/* ---- the flat space ---- */

static int bind_weight(sail__model *m, int entry, sail_dtype used)
{
    int i = bind_new(m, sail__flat_view(m->flat, entry, used == SAIL_F32 ? SAIL__FLAT_WEIGHT : SAIL__FLAT_SHADOW, 0), false);
    m->entry[i] = entry;
    return i;
}

static void bind_gradient(sail__model *m, int i)
{
    m->gradient[i] = bind_new(m, sail__flat_view(m->flat, m->entry[i], SAIL__FLAT_GRADIENT, 0), false);
}

static int bind_entry(sail__model *m, int entry, sail_dtype used)
{
    int i = bind_weight(m, entry, used);
    bind_gradient(m, i);
    return i;
}

static sail__flat_entry flat_entry(const sail__model *m, const char *name, int64_t rows, int64_t cols, bool vector)
{
    return (sail__flat_entry){.name = name, .rows = rows, .cols = cols, .vector = vector, .decay = m->spec.decay_all || !vector};
}

static sail_code make_flat(sail__model *m, sail_err *err)
{
    const sail__model_spec *s = &m->spec;
    const sail__adapter *ad = s->adapter;
    if (s->train == SAIL__TRAIN_NOTHING)
        return SAIL_OK;
    size_t n = s->train == SAIL__TRAIN_ALL ? m->n_params : 2 * lora_count(ad) + saved_count(ad);
    sail__flat_entry *e = sail__arena_array(m->arena, n + 1, sizeof *e);
    if (!e)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    size_t k = 0;
    if (s->train == SAIL__TRAIN_ALL)
        for (size_t i = 0; i < m->n_params; i++)
            e[k++] = flat_entry(m, m->params[i].name, m->params[i].rows, m->params[i].cols, m->params[i].vector);
    else {
        for (size_t i = 0; i < lora_count(ad); i++) {
            const sail__adapter_layer *l = &ad->layers[i];
            int p;
            SAIL_TRY(adapted_param(m, l->module, &p, err));
            e[k++] = flat_entry(m, sail__arena_printf(m->arena, "%s.lora_A.weight", l->module), l->rank, m->params[p].cols, false);
            e[k++] = flat_entry(m, sail__arena_printf(m->arena, "%s.lora_B.weight", l->module), m->params[p].rows, l->rank, false);
        }
        for (size_t i = 0; i < saved_count(ad); i++) {
            int p = param_index(m, ad->saved[i].name);
            if (p < 0)
                return sail_fail(err, SAIL_E_ARG, "the model has no parameter %s, which the adapter replaces", ad->saved[i].name);
            e[k++] = flat_entry(m, m->params[p].name, m->params[p].rows, m->params[p].cols, m->params[p].vector);
        }
    }
    for (size_t i = 0; i < k; i++)
        if (!e[i].name)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (k == 0)
        return sail_fail(err, SAIL_E_ARG, "nothing to train: the adapter names no module");
    return sail__flat_new(m->rt, e, (int)k, s->optimizer, s->dtype == SAIL_BF16, &m->flat, err);
}

/* The graph's parameter i is params[i]: weights come first, then their gradients. */
static sail_code base_parameters(sail__model *m, sail_err *err)
{
    bool all = m->spec.train == SAIL__TRAIN_ALL;
    if (all && m->spec.as_stored)
        return sail_fail(err, SAIL_E_ARG, "model.weights: as_stored is for a base that stays as it is: train an adapter "
                         "(model.adapter), or set it to converted");
    for (size_t i = 0; i < m->n_params; i++) {
        int index = -1;
        m->dtypes[i] = compute_dtype(m, &m->params[i]);
        m->trainable[i] = all;
        if (!all) {
            SAIL_TRY(sail__frozen_dtype(m, &m->params[i], m->spec.dtype, m->spec.as_stored, &m->dtypes[i], err));
            SAIL_TRY(new_base(m, m->spec.source, &m->params[i], m->dtypes[i], &index, err));
            continue;
        }
        bind_weight(m, (int)i, m->dtypes[i]);
        sail_tensor t = sail__flat_view(m->flat, (int)i, SAIL__FLAT_WEIGHT, 0);
        SAIL_TRY(load(m, m->spec.source, &m->params[i], &t, err));
    }
    for (size_t i = 0; all && i < m->n_params; i++)
        bind_gradient(m, (int)i);
    return all ? sail__flat_refresh(m->flat, err) : SAIL_OK;
}

/* ---- adapters ---- */

static sail_code initial_a(const sail__model *m, const sail__adapter_layer *l, int64_t in, size_t which, float *a, sail_err *err)
{
    double bound = 1 / sqrt((double)in);
    for (int64_t i = 0; i < l->rank * in; i++)
        a[i] = l->a ? l->a[i] : (float)(bound * (2 * sail_rng_uniform(m->spec.seed, SAIL_RNG_INIT, 1 + which, (uint64_t)i, 0) - 1));
    return SAIL_OK;
}

static sail_code put_pair(sail__model *m, const sail__adapter_layer *l, int64_t in, int64_t out, size_t which, int first_entry,
                          sail_tensor *ta, sail_tensor *tb, sail_err *err)
{
    float *a = sail__malloc((size_t)(l->rank * in) * sizeof *a), *b = sail__calloc((size_t)(out * l->rank), sizeof *b);
    sail_code code = a && b ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory for the adapter of %s", l->module);
    if (code == SAIL_OK)
        code = initial_a(m, l, in, which, a, err);
    if (code == SAIL_OK && l->b)
        memcpy(b, l->b, (size_t)(out * l->rank) * sizeof *b);
    if (code == SAIL_OK)
        code = first_entry >= 0 ? sail__flat_put(m->flat, first_entry, a, err) : sail__tensor_put_f32(m->rt, ta, a, err);
    if (code == SAIL_OK)
        code = first_entry >= 0 ? sail__flat_put(m->flat, first_entry + 1, b, err) : sail__tensor_put_f32(m->rt, tb, b, err);
    sail__free(a);
    sail__free(b);
    return code;
}

static sail_code adapter_layers(sail__model *m, sail__role_kind role, const sail__adapter *ad, bool trained, sail_err *err)
{
    sail__lora_layer *out = sail__arena_array(m->arena, lora_count(ad) + 1, sizeof *out);
    if (!out)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < lora_count(ad); i++) {
        const sail__adapter_layer *l = &ad->layers[i];
        int p;
        SAIL_TRY(adapted_param(m, l->module, &p, err));
        int64_t n_in = m->params[p].cols, n_out = m->params[p].rows;
        out[i] = (sail__lora_layer){.module = sail__arena_strdup(m->arena, l->module), .rank = l->rank, .in = n_in, .out = n_out, .scale = l->scale};
        if (!out[i].module)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail_tensor ta = {0}, tb = {0};
        if (trained) {
            out[i].param_a = bind_entry(m, (int)(2 * i), m->spec.dtype);
            out[i].param_b = bind_entry(m, (int)(2 * i + 1), m->spec.dtype);
        } else {
            SAIL_TRY(sail__tensor_alloc(m->rt, m->spec.dtype, l->rank, n_in, &ta, err));
            out[i].param_a = bind_new(m, ta, true);
            SAIL_TRY(sail__tensor_alloc(m->rt, m->spec.dtype, n_out, l->rank, &tb, err));
            out[i].param_b = bind_new(m, tb, true);
        }
        SAIL_TRY(put_pair(m, l, n_in, n_out, i, trained ? (int)(2 * i) : -1, &ta, &tb, err));
    }
    m->lora[role] = out;
    m->n_lora[role] = lora_count(ad);
    return SAIL_OK;
}

static sail_code replaced_array(sail__model *m, sail__role_kind role, sail_err *err)
{
    if (m->replaced[role])
        return SAIL_OK;
    m->replaced[role] = sail__arena_array(m->arena, m->n_params, sizeof(int));
    if (!m->replaced[role])
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < m->n_params; i++)
        m->replaced[role][i] = -1;
    return SAIL_OK;
}

static sail_code adapter_saved(sail__model *m, sail__role_kind role, const sail__adapter *ad, bool trained, sail_err *err)
{
    for (size_t i = 0; i < saved_count(ad); i++) {
        SAIL_TRY(replaced_array(m, role, err));
        int p = param_index(m, ad->saved[i].name), at;
        if (p < 0)
            return sail_fail(err, SAIL_E_ARG, "the model has no parameter %s, which the adapter replaces", ad->saved[i].name);
        if (trained) {
            int entry = (int)(2 * ad->n_layers + i);
            SAIL_TRY(sail__flat_put(m->flat, entry, ad->saved[i].data, err));
            at = bind_entry(m, entry, m->dtypes[p]);
            m->trainable[p] = true;
        } else {
            sail_tensor t;
            SAIL_TRY(sail__tensor_alloc(m->rt, m->dtypes[p], m->params[p].rows, m->params[p].cols, &t, err));
            at = bind_new(m, t, true);
            SAIL_TRY(sail__tensor_put_f32(m->rt, &t, ad->saved[i].data, err));
        }
        m->replaced[role][p] = at;
    }
    return SAIL_OK;
}

static sail_code reference_copy(sail__model *m, sail_err *err)
{
    const sail__param_source *from = m->spec.reference_source ? m->spec.reference_source : m->spec.source;
    SAIL_TRY(replaced_array(m, SAIL__REFERENCE, err));
    for (size_t i = 0; i < m->n_params; i++)
        SAIL_TRY(new_base(m, from, &m->params[i], m->dtypes[i], &m->replaced[SAIL__REFERENCE][i], err));
    return SAIL_OK;
}

static sail_code rope_tables(sail__model *m, sail_err *err)
{
    const sail__model_config *c = m->config;
    for (int k = 0; k < c->n_ropes; k++) {
        const sail__rope *r = &c->ropes[k];
        const int half = r->rotary / 2, forms = sail__short_length(c) ? 2 : 1;
        sail_tensor t;
        double *angle = sail__arena_array(m->arena, (size_t)half + 1, sizeof *angle);
        float *table = sail__malloc((size_t)(forms * m->positions) * (size_t)r->rotary * sizeof *table + 1);
        if (!angle || !table) {
            sail__free(table);
            return sail_fail(err, SAIL_E_NOMEM, "out of memory for rotary tables of %lld positions", (long long)m->positions);
        }
        for (int form = 0; form < forms; form++) {
            sail__rope_frequencies(r, form == 1, angle);
            for (int64_t p = 0; p < m->positions; p++) {
                float *row = table + (form * m->positions + p) * r->rotary;
                for (int i = 0; i < half; i++) {
                    row[i] = (float)(r->attention_factor * cos((double)p * angle[i]));
                    row[half + i] = (float)(r->attention_factor * sin((double)p * angle[i]));
                }
            }
        }
        sail_code code = sail__tensor_alloc(m->rt, SAIL_F32, forms * m->positions, r->rotary, &t, err);
        if (code == SAIL_OK) {
            m->rope_param[k] = bind_new(m, t, true);
            code = sail__tensor_put(m->rt, &t, table, err);
        }
        sail__free(table);
        SAIL_TRY(code);
    }
    return SAIL_OK;
}

/* ---- making and freeing ---- */

static void fill_view(sail__model *m, sail__role_kind role)
{
    sail__decoder_spec *d = &m->view[role];
    *d = (sail__decoder_spec){.config = m->config,
                              .params = m->params,
                              .n_params = m->n_params,
                              .param_dtype = m->dtypes,
                              .trainable = role == SAIL__POLICY ? m->trainable : NULL,
                              .replaced = m->replaced[role],
                              .dtype = m->spec.dtype,
                              .lora = m->lora[role],
                              .n_lora = m->n_lora[role],
                              .lora_trainable = role == SAIL__POLICY && m->spec.train == SAIL__TRAIN_ADAPTER,
                              .lora_dropout = m->spec.adapter ? m->spec.adapter->dropout : 0,
                              .seed = m->spec.seed,
                              .rope_param = {m->rope_param[0], m->rope_param[1]},
                              .positions = m->positions * (sail__short_length(m->config) ? 2 : 1),
                              .recompute = m->spec.recompute};
}

static sail_code fill(sail__model *m, sail_err *err)
{
    const sail__model_spec *s = &m->spec;
    SAIL_TRY(sail__model_params(m->arena, m->config, &m->params, &m->n_params, err));
    SAIL_TRY(sail__model_fits(m, err));
    SAIL_TRY(reserve(m, err));
    SAIL_TRY(make_flat(m, err));
    SAIL_TRY(base_parameters(m, err));
    bool trained = s->train == SAIL__TRAIN_ADAPTER;
    if (s->train == SAIL__TRAIN_ALL && s->adapter)
        return sail_fail(err, SAIL_E_ARG, "full fine-tuning of a model with an adapter: merge it first (sail export hf)");
    SAIL_TRY(adapter_layers(m, SAIL__POLICY, s->adapter, trained, err));
    SAIL_TRY(adapter_saved(m, SAIL__POLICY, s->adapter, trained, err));
    SAIL_TRY(adapter_layers(m, SAIL__REFERENCE, s->reference_adapter, false, err));
    SAIL_TRY(adapter_saved(m, SAIL__REFERENCE, s->reference_adapter, false, err));
    if (s->reference_copy)
        SAIL_TRY(reference_copy(m, err));
    m->positions = s->max_positions > 0 ? s->max_positions : m->config->max_positions;
    if (m->positions <= 0 || (s->max_positions <= 0 && m->positions > DEFAULT_POSITIONS))
        m->positions = DEFAULT_POSITIONS;
    SAIL_TRY(rope_tables(m, err));
    fill_view(m, SAIL__POLICY);
    fill_view(m, SAIL__REFERENCE);
    return SAIL_OK;
}

sail_code sail__model_new(sail_runtime *rt, const sail__model_spec *spec, sail__model **out, sail_err *err)
{
    *out = NULL;
    sail__model *m = sail__calloc(1, sizeof *m);
    if (m)
        m->arena = sail__arena_new();
    if (!m || !m->arena) {
        sail__free(m);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    m->rt = rt;
    sail__inputs_init(&m->inputs, rt);
    sail__outputs_init(&m->outputs, rt);
    m->config = spec->config;
    m->spec = *spec;
    sail_code code = fill(m, err);
    m->spec.adapter = m->spec.reference_adapter = NULL; /* not needed any more; may go */
    if (code != SAIL_OK) {
        sail__model_free(m);
        return code;
    }
    *out = m;
    return SAIL_OK;
}

void sail__model_free(sail__model *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n_programs; i++) {
        sail__exec_free(m->programs[i].exec);
        sail_graph_free(m->programs[i].graph);
    }
    for (int i = 0; i < m->n_bind; i++)
        if (m->owned[i])
            sail__tensor_free(m->rt, &m->bind[i]);
    sail__flat_free(m->flat);
    sail__inputs_free(&m->inputs);
    sail__outputs_free(&m->outputs);
    sail__forest_free(&m->forms);
    sail__arena_free(m->arena);
    sail__free(m);
}

int64_t sail__model_positions(const sail__model *m) { return m->positions; }
bool sail__model_has_dropout(const sail__model *m) { return m->view[SAIL__POLICY].lora_dropout > 0; }
sail__flat *sail__model_flat(sail__model *m) { return m->flat; }

