/* export_gguf.c - a model, or an adapter, as a GGUF file: keys from config and tokenizer, tensors in the order and with the values that the
 * architecture's readers expect. */
#include <math.h>
#include <string.h>

#include "export.h"
#include "hf_config.h"

enum { CHUNK = 1 << 18 };
static const float largest_f16 = 65519.99f; /* what is rounded to a finite number */

/* ---- values of a parameter as the file has them ---- */

struct out {
    const sail__model_config *c;
    sail__gguf_writer *w;
    float *values, *moved; /* [room] each */
    void *bytes;
    size_t room;
    sail_err *err;
};

static sail_code open_out(struct out *o, size_t room, const char *path)
{
    o->room = room;
    o->values = sail__malloc(room * sizeof(float));
    o->moved = sail__malloc(room * sizeof(float));
    o->bytes = sail__malloc(room * sizeof(float));
    return o->values && o->moved && o->bytes ? SAIL_OK : sail_fail(o->err, SAIL_E_NOMEM, "%s: no memory to write it", path);
}

static sail_code close_out(struct out *o, sail_code code)
{
    if (code == SAIL_OK)
        code = sail__gguf_commit(o->w, o->err);
    else
        sail__gguf_abort(o->w);
    sail__free(o->values);
    sail__free(o->moved);
    sail__free(o->bytes);
    return code;
}

static sail_code put_values(struct out *o, const sail__gguf_entry *e, const float *v, size_t count)
{
    for (size_t i = 0; e->dtype == SAIL_F16 && i < count; i++)
        if (fabsf(v[i]) > largest_f16)
            return sail_fail(o->err, SAIL_E_NUMERIC, "%s: f16 has no number as large as %g; bf16 does", e->name, (double)v[i]);
    if (sail_from_f32(e->dtype, v, o->bytes, count, o->err) != SAIL_OK)
        return sail_fail_in(o->err, "%s", e->name);
    return sail__gguf_write(o->w, o->bytes, sail_dtype_bytes(e->dtype, count), o->err);
}

/* Rows [first, first + n) in o->values, of a role's matrix (or the n entries of its vector, each a row of one), go out. They are whole
 * heads where the file has another order. */
static sail_code put_rows(struct out *o, sail__role role, const sail__gguf_entry *e, int64_t first, int64_t n, int64_t cols, double factor)
{
    const float plus = (float)sail__gguf_plus(o->c, role);
    const size_t count = (size_t)(n * cols);
    float *v = o->values;
    factor *= sail__gguf_factor(o->c, role);
    for (int64_t at = 0; sail__gguf_reordered(o->c, role) && at < n; at++) {
        const int64_t from = sail__gguf_row_of_file(o->c, role, first + at) - first;
        memcpy(o->moved + at * cols, o->values + from * cols, (size_t)cols * sizeof(float));
        v = o->moved;
    }
    for (size_t i = 0; i < count; i++)
        v[i] = (float)((v[i] + plus) * factor);
    return put_values(o, e, v, count);
}

/* ---- a model ---- */

struct job {
    sail_arena *arena;
    const char *path;
    const sail__export *e;
    const sail__param *params;
    size_t n;
    sail__gguf_divisors divisors[2];
    size_t n_divisors;
    sail__gguf_entry *entries; /* divisors, then parameters */
    sail_err *err;
};

static sail_code no_memory(const struct job *j)
{
    return sail_fail(j->err, SAIL_E_NOMEM, "%s: no memory to write the model", j->path);
}

static sail_dtype stored(sail_dtype wanted, bool vector, int64_t cols)
{
    return vector ? SAIL_F32 : sail_dtype_bytes(wanted, (uint64_t)cols) == SIZE_MAX ? SAIL_F16 : wanted;
}

/* The name of a parameter in the file, with an ending. */
static sail_code name_of(struct job *j, const sail__param *p, const char *ending, const char **out)
{
    char name[128];
    if (!sail__gguf_name(p->role, p->layer, name, sizeof name))
        return sail_fail(j->err, SAIL_E_FORMAT, "%s: GGUF has no name for parameter %s", j->path, p->name);
    *out = sail__arena_printf(j->arena, "%s%s", name, ending);
    return *out ? SAIL_OK : no_memory(j);
}

static sail_code plan(struct job *j)
{
    sail__param *params;
    SAIL_TRY(sail__model_params(j->arena, j->e->config, &params, &j->n, j->err));
    SAIL_TRY(sail__config_divisors(j->arena, j->e->config, j->divisors, &j->n_divisors, j->err));
    j->params = params;
    j->entries = sail__arena_array(j->arena, j->n + j->n_divisors, sizeof *j->entries);
    if (!j->entries)
        return no_memory(j);
    sail__gguf_entry *e = j->entries;
    for (size_t i = 0; i < j->n_divisors; i++)
        *e++ = (sail__gguf_entry){j->divisors[i].name, SAIL_F32, 1, {j->divisors[i].n, 1}};
    for (size_t i = 0; i < j->n; i++, e++) {
        const sail__param *p = &params[i];
        *e = (sail__gguf_entry){NULL, stored(j->e->dtype, p->vector, p->cols), p->vector ? 1 : 2, {p->cols, p->rows}};
        SAIL_TRY(name_of(j, p, "", &e->name));
    }
    return SAIL_OK;
}

/* So many rows go at once: whole heads, where rows of a head change places. */
static int64_t rows_at_once(const sail__model_config *c, const sail__param *p)
{
    int64_t rows = CHUNK / p->cols > 0 ? CHUNK / p->cols : 1;
    if (sail__gguf_reordered(c, p->role))
        rows = rows > c->head_dim ? rows / c->head_dim * c->head_dim : c->head_dim;
    return rows < p->rows ? rows : p->rows;
}

static sail_code put_param(struct job *j, struct out *o, const sail__param *p, const sail__gguf_entry *e)
{
    const int64_t step = rows_at_once(o->c, p);
    for (int64_t row = 0; row < p->rows; row += step) {
        const int64_t count = p->rows - row < step ? p->rows - row : step;
        SAIL_TRY(j->e->rows(j->e->user, p, row, count, o->values, j->err));
        SAIL_TRY(p->vector ? put_rows(o, p->role, e, 0, p->cols, 1, 1) : put_rows(o, p->role, e, row, count, p->cols, 1));
    }
    return SAIL_OK;
}

static sail_code put_tensors(struct job *j, const sail__gguf_keys *keys)
{
    struct out o = {.c = j->e->config, .err = j->err};
    size_t room = 0;
    for (size_t i = 0; i < j->n; i++) {
        const size_t needed = (size_t)(rows_at_once(o.c, &j->params[i]) * j->params[i].cols);
        room = needed > room ? needed : room;
    }
    sail_code code = open_out(&o, room, j->path);
    if (code == SAIL_OK)
        code = sail__gguf_begin(j->path, keys, j->entries, j->n + j->n_divisors, &o.w, j->err);
    for (size_t i = 0; i < j->n_divisors && code == SAIL_OK; i++)
        code = sail__gguf_write(o.w, j->divisors[i].data, (size_t)j->divisors[i].n * sizeof(float), j->err);
    for (size_t i = 0; i < j->n && code == SAIL_OK; i++)
        code = put_param(j, &o, &j->params[i], &j->entries[j->n_divisors + i]);
    return close_out(&o, code);
}

static uint32_t file_type(sail_dtype t) /* llama.cpp's number for "mostly of this type" */
{
    return t == SAIL_F16 ? 1 : t == SAIL_Q8_0 ? 7 : t == SAIL_BF16 ? 32 : 0;
}

static void put_general(const struct job *j, sail__gguf_keys *k)
{
    static const char *const own[] = {"general.architecture", "general.type", "general.file_type", "general.quantization_version",
                                      "general.alignment"};
    const sail__gguf *base = j->e->gguf;
    const sail__gguf_kv *kv;
    sail__gguf_put_text(k, "general.architecture", j->e->config->family->gguf);
    sail__gguf_put_text(k, "general.type", "model");
    sail__gguf_put_u32(k, "general.file_type", file_type(j->e->dtype));
    sail__gguf_put_u32(k, "general.quantization_version", 2);
    if (!(base && sail__gguf_get(base, "general.name")) && j->e->name)
        sail__gguf_put_text(k, "general.name", j->e->name);
    for (size_t i = 0; base && (kv = sail__gguf_kv_at(base, i)); i++) /* licence, authors, … go with the model */
        if (!strncmp(kv->key, "general.", 8) && !sail__among(kv->key, own, sizeof own / sizeof own[0]))
            sail__gguf_put_copy(k, kv);
}

static int64_t or_else(int64_t id, int64_t other, int32_t vocab)
{
    return id >= 0 ? id : other < vocab ? other : -1;
}

/* The tokenizer; without one the file still has the special tokens' ids, and llama.cpp loads it for ids alone. */
static sail_code put_tokenizer(const struct job *j, sail__gguf_keys *k)
{
    const sail__model_config *c = j->e->config;
    const sail__gguf_kv *kv;
    bool copied = false;
    for (size_t i = 0; j->e->gguf && (kv = sail__gguf_kv_at(j->e->gguf, i)); i++)
        if (!strncmp(kv->key, "tokenizer.", 10)) {
            sail__gguf_put_copy(k, kv);
            copied = true;
        }
    if (copied)
        return SAIL_OK;
    sail__vocabulary v = {.model = "none", .bos = -1, .eos = -1, .eot = -1, .eom = -1, .unk = -1, .pad = -1, .add_bos = -1, .add_eos = -1,
                          .add_space_prefix = -1};
    if (j->e->tokenizer)
        SAIL_TRY(sail__tokenizer_vocabulary(j->e->tokenizer, (size_t)c->vocab, j->e->pre, j->arena, &v, j->err));
    v.bos = or_else(v.bos, c->bos_id, c->vocab);
    v.pad = or_else(v.pad, c->pad_id, c->vocab);
    int64_t *const ends[] = {&v.eos, &v.eot, &v.eom};
    for (int32_t i = 0, any = v.eos >= 0; !any && i < c->n_end_ids && i < 3; i++)
        *ends[i] = or_else(-1, c->end_ids[i], c->vocab);
    sail__vocabulary_to_gguf(&v, k);
    return SAIL_OK;
}

static sail_code model(struct job *j)
{
    sail__gguf_keys k = {0};
    put_general(j, &k);
    sail_code code = sail__config_to_gguf(j->e->config, &k, j->err);
    if (code == SAIL_OK)
        code = put_tokenizer(j, &k);
    if (code == SAIL_OK)
        code = plan(j);
    if (code == SAIL_OK)
        code = put_tensors(j, &k);
    sail__gguf_keys_free(&k);
    return code;
}

sail_code sail__export_gguf(const char *path, const sail__export *e, sail_err *err)
{
    struct job j = {.arena = sail__arena_new(), .path = path, .e = e, .err = err};
    sail_code code = j.arena ? model(&j) : no_memory(&j);
    sail__arena_free(j.arena);
    return code;
}

/* ---- an adapter ---- */

static sail_code plan_adapter(struct job *j, const sail__peft *p, const sail__param **of, size_t *room)
{
    for (size_t i = 0; i < p->n_modules; i++) {
        const sail__lora_module *m = &p->modules[i];
        sail__gguf_entry *a = &j->entries[2 * i], *b = a + 1;
        of[i] = sail__weight_of(j->params, j->n, m->module);
        if (!of[i])
            return sail_fail(j->err, SAIL_E_FORMAT, "%s: the model has no module %s", j->path, m->module);
        *a = (sail__gguf_entry){NULL, j->e->dtype, 2, {m->in, m->rank}};
        *b = (sail__gguf_entry){NULL, j->e->dtype, 2, {m->rank, m->out}};
        SAIL_TRY(name_of(j, of[i], ".lora_a", &a->name));
        SAIL_TRY(name_of(j, of[i], ".lora_b", &b->name));
        const size_t needed = (size_t)(m->rank * (m->in > m->out ? m->in : m->out));
        *room = needed > *room ? needed : *room;
    }
    return SAIL_OK;
}

/* The file has one alpha, and readers scale by alpha / rank: what a module's own scale is beyond that goes into B. */
static sail_code put_module(struct out *o, const sail__peft *p, const sail__lora_module *m, const sail__param *of, const sail__gguf_entry *e)
{
    SAIL_TRY(put_values(o, &e[0], m->a, (size_t)(m->rank * m->in)));
    memcpy(o->values, m->b, (size_t)(m->out * m->rank) * sizeof(float));
    return put_rows(o, of->role, &e[1], 0, m->out, m->rank, m->scale * (double)m->rank / p->alpha);
}

static sail_code put_adapter(struct job *j, const sail__peft *p, const sail__gguf_keys *k)
{
    struct out o = {.c = j->e->config, .err = j->err};
    size_t room = 0;
    const sail__param **of = sail__arena_array(j->arena, p->n_modules, sizeof *of);
    j->entries = sail__arena_array(j->arena, 2 * p->n_modules, sizeof *j->entries);
    if (!of || !j->entries)
        return no_memory(j);
    SAIL_TRY(plan_adapter(j, p, of, &room));
    sail_code code = open_out(&o, room, j->path);
    if (code == SAIL_OK)
        code = sail__gguf_begin(j->path, k, j->entries, 2 * p->n_modules, &o.w, j->err);
    for (size_t i = 0; i < p->n_modules && code == SAIL_OK; i++)
        code = put_module(&o, p, &p->modules[i], of[i], &j->entries[2 * i]);
    return close_out(&o, code);
}

static sail_code adapter(struct job *j, const sail__peft *p)
{
    sail__gguf_keys k = {0}, of_model = {0};
    sail__param *params;
    if (p->n_saved)
        return sail_fail(j->err, SAIL_E_FORMAT, "%s: the adapter replaces %s whole, which GGUF adapters cannot; export gguf merges it", j->path,
                         p->saved[0].name);
    SAIL_TRY(sail__model_params(j->arena, j->e->config, &params, &j->n, j->err));
    j->params = params;
    sail_code code = sail__config_to_gguf(j->e->config, &of_model, j->err); /* an adapter for a model that GGUF cannot say is none */
    sail__gguf_keys_free(&of_model);
    sail__gguf_put_text(&k, "general.architecture", j->e->config->family->gguf);
    sail__gguf_put_text(&k, "general.type", "adapter");
    sail__gguf_put_u32(&k, "general.file_type", file_type(j->e->dtype));
    if (j->e->name)
        sail__gguf_put_text(&k, "general.name", j->e->name);
    sail__gguf_put_text(&k, "adapter.type", "lora");
    sail__gguf_put_f32(&k, "adapter.lora.alpha", p->alpha);
    if (code == SAIL_OK)
        code = put_adapter(j, p, &k);
    sail__gguf_keys_free(&k);
    return code;
}

sail_code sail__export_gguf_lora(const char *path, const sail__export *e, const sail__peft *p, sail_err *err)
{
    if (sail_dtype_is_quantised(e->dtype))
        return sail_fail(err, SAIL_E_ARG, "%s: an adapter is written as f32, f16 or bf16, not %s", path, sail_dtype_name(e->dtype));
    struct job j = {.arena = sail__arena_new(), .path = path, .e = e, .err = err};
    sail_code code = j.arena ? adapter(&j, p) : no_memory(&j);
    sail__arena_free(j.arena);
    return code;
}
