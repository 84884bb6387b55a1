/* score_head.c - see score_head.h. */
#include "score_head.h"

#include <string.h>

#include "../sail/rng.h"

static const double deviation = 0.02; /* initializer_range, as most configs have it */

static bool is_head(const sail__param *p) { return p->role == SAIL__ROLE_SCORE || p->role == SAIL__ROLE_SCORE_BIAS; }

/* ---- config ---- */

static bool ends(const sail__model_config *c, const sail__tokenizer *t, int32_t id)
{
    size_t n = 0;
    const int32_t *more = t ? sail__tokenizer_ends(t, &n) : NULL;
    for (int i = 0; i < c->n_end_ids; i++)
        if (c->end_ids[i] == id)
            return true;
    for (size_t i = 0; i < n; i++)
        if (more[i] == id)
            return true;
    return false;
}

/* A token that no sequence ends in: the padding token where it is such, else one that is never the last, else a row of the embedding that no
 * token has. */
static int32_t padding(const sail__model_config *c, const sail__tokenizer *t)
{
    const int32_t ids[] = {t ? sail__tokenizer_pad(t) : -1, c->pad_id, t ? sail__tokenizer_unk(t) : -1, t ? sail__tokenizer_bos(t) : -1, c->bos_id};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if (ids[i] >= 0 && ids[i] < c->vocab && !ends(c, t, ids[i]))
            return ids[i];
    return t && sail__tokenizer_size(t) < c->vocab ? c->vocab - 1 : -1;
}

sail_code sail__score_head_config(sail_arena *a, const sail__model_config *base, int32_t labels, const sail__tokenizer *tokenizer,
                                  const sail__model_config **out, sail_err *err)
{
    *out = base;
    if (base->labels == labels)
        return SAIL_OK;
    if (base->labels > 0)
        return sail_fail(err, SAIL_E_RECIPE, "the model has a score head of %d numbers, where the preference model asks for %d: begin with the language "
                                             "model, or choose another method.preference", base->labels, labels);
    sail__model_config *c = sail__arena_alloc(a, sizeof *c);
    const char *name = sail__arena_printf(a, "%sForSequenceClassification", base->family->architecture);
    if (!c || !name)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    *c = *base;
    c->labels = labels;
    c->architecture = name;
    c->pad_id = padding(base, tokenizer);
    *out = c;
    return SAIL_OK;
}

/* ---- parameters ---- */

typedef struct headed {
    const sail__param_source *base;
    const sail__param *params;
    size_t n;
    uint64_t seed;
} headed;

static const sail__param *head_named(const headed *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (is_head(&h->params[i]) && strcmp(h->params[i].name, name) == 0)
            return &h->params[i];
    return NULL;
}

static sail_code head_dtype(void *self, const char *name, sail_dtype *out, sail_err *err)
{
    const headed *h = self;
    *out = SAIL_F32;
    return head_named(h, name) ? SAIL_OK : h->base->dtype(h->base->self, name, out, err);
}

static sail_code head_f32(void *self, const char *name, int64_t first, int64_t count, float *out, sail_err *err)
{
    const headed *h = self;
    const sail__param *p = head_named(h, name);
    if (!p)
        return h->base->read_f32(h->base->self, name, first, count, out, err);
    for (int64_t i = 0; i < count * p->cols; i++)
        out[i] = p->vector ? 0 : (float)(deviation * sail_rng_normal(h->seed, SAIL_RNG_INIT, 0, UINT64_MAX, (uint64_t)(first * p->cols + i)));
    return SAIL_OK;
}

static sail_code head_raw(void *self, const char *name, int64_t first, int64_t count, void *out, sail_err *err)
{
    const headed *h = self;
    return head_named(h, name) ? head_f32(self, name, first, count, out, err) : h->base->read_raw(h->base->self, name, first, count, out, err);
}

sail_code sail__score_head_source(sail_arena *a, const sail__model_config *config, const sail__param_source *base, uint64_t seed,
                                  sail__param_source *out, sail_err *err)
{
    headed *h = sail__arena_alloc(a, sizeof *h);
    sail__param_source *copy = sail__arena_alloc(a, sizeof *copy);
    sail__param *params;
    if (!h || !copy)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    *copy = *base;
    *h = (headed){.base = copy, .seed = seed};
    SAIL_TRY(sail__model_params(a, config, &params, &h->n, err));
    h->params = params;
    *out = (sail__param_source){h, head_dtype, head_f32, head_raw};
    return SAIL_OK;
}

/* ---- adapters ---- */

int32_t sail__score_head_of(const sail__peft *p, const sail__model_config *base)
{
    char name[128];
    if (base->labels > 0 || !sail__family_name(base->family, SAIL__ROLE_SCORE, 0, name, sizeof name))
        return 0;
    for (size_t i = 0; i < p->n_saved; i++)
        if (strcmp(p->saved[i].name, name) == 0)
            return (int32_t)p->saved[i].rows;
    return 0;
}

static bool holds(const sail__peft *p, const char *name)
{
    for (size_t i = 0; i < p->n_saved; i++)
        if (strcmp(p->saved[i].name, name) == 0)
            return true;
    return false;
}

sail_code sail__score_head_save(sail_arena *a, const sail__model_config *config, const sail__param_source *source, sail__peft *p,
                                sail__adapter *adapter, sail_err *err)
{
    sail__param *params;
    size_t n;
    SAIL_TRY(sail__model_params(a, config, &params, &n, err));
    sail__saved_module *saved = sail__arena_array(a, p->n_saved + 3, sizeof *saved);
    sail__adapter_saved *data = sail__arena_array(a, p->n_saved + 3, sizeof *data);
    const char **names = sail__arena_array(a, p->n_save_names + 2, sizeof *names);
    if (!saved || !data || !names)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for the adapter's score head");
    size_t k = p->n_saved, m = p->n_save_names;
    if (k)
        memcpy(saved, p->saved, k * sizeof *saved);
    if (m)
        memcpy(names, p->save_names, m * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        if (!is_head(&params[i]) || holds(p, params[i].name))
            continue;
        const sail__param *x = &params[i];
        float *values = sail__arena_array(a, (size_t)(x->rows * x->cols), sizeof *values);
        if (!values)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory for the adapter's score head");
        SAIL_TRY(source->read_f32(source->self, x->name, 0, x->rows, values, err));
        saved[k++] = (sail__saved_module){x->name, x->rows, x->cols, x->vector, values};
        if (x->role == SAIL__ROLE_SCORE && !(names[m++] = sail__arena_strndup(a, x->name, strlen(x->name) - strlen(".weight"))))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory for the adapter's score head");
    }
    for (size_t i = 0; i < k; i++)
        data[i] = (sail__adapter_saved){saved[i].name, saved[i].data};
    p->saved = saved, p->n_saved = k;
    p->save_names = names, p->n_save_names = m;
    p->task_type = "SEQ_CLS";
    adapter->saved = data, adapter->n_saved = k;
    return SAIL_OK;
}
