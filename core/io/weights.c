/* weights.c - a directory or GGUF file as a list of parameters by canonical name. Each has a slot that says where its
 * bytes lie and how its rows are ordered there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_config.h"
#include "hub.h"
#include "safetensors.h"
#include "weights.h"

struct slot {
    const char *name; /* canonical */
    const sail__param *param;
    const unsigned char *data; /* any alignment */
    sail_dtype dtype;
    size_t row_bytes;
    bool reordered; /* rows (of a vector: entries) lie elsewhere in the file: stored_at says where */
    float plus;     /* what the file has added to the values, which are float32 then */
};

struct sail__weights {
    sail_arena *arena;
    sail_ctx *ctx;
    const char *path;
    sail__model_config config;
    sail_node *config_node;
    sail__param *params;
    size_t n;
    struct slot *slots; /* by name */
    sail__safetensors *safetensors;
    sail__gguf *gguf;
    const char *tokenizer;
    sail__param_source source;
};

static void warn(const sail__weights *w, const char *text, const char *name, const char *file)
{
    if (w->ctx)
        sail_log(w->ctx, SAIL_LOG_WARN, "%s: tensor %s %s", file, name, text);
}

static int by_name(const void *x, const void *y)
{
    const struct slot *a = x, *b = y;
    return strcmp(a->name, b->name);
}

static const struct slot *find(const sail__weights *w, const char *name)
{
    struct slot key = {.name = name};
    return w->n ? bsearch(&key, w->slots, w->n, sizeof key, by_name) : NULL;
}

/* What a search for the parameters finds, before it is known to fit. */
struct found {
    const char *file, *name; /* as the file calls it */
    const void *data;
    sail_dtype dtype;
    const char *dtype_name;
    int rank;
    int64_t rows, cols;
    char shape[160];
};

static sail_code fill_slot(struct slot *s, const sail__param *p, const struct found *f, bool reordered, sail_err *err)
{
    bool one = f->rank == 1 && p->vector, two = f->rank == 2 && !p->vector;
    if (!(one || two) || f->cols != p->cols || (two && f->rows != p->rows)) {
        char want[80];
        if (p->vector)
            snprintf(want, sizeof want, "[%lld]", (long long)p->cols);
        else
            snprintf(want, sizeof want, "[%lld, %lld]", (long long)p->rows, (long long)p->cols);
        return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s has shape %s; the config asks for %s", f->file, f->name,
                         f->shape, want);
    }
    sail_dtype t = f->dtype;
    if (t == SAIL_DTYPE_COUNT || t == SAIL_I32 || t == SAIL_I64 || t == SAIL_U8)
        return sail_fail(err, SAIL_E_DTYPE, "%s: tensor %s has type %s, which cannot be used as weights", f->file,
                         f->name, f->dtype_name);
    *s = (struct slot){.name = p->name,
                       .param = p,
                       .data = f->data,
                       .dtype = t,
                       .row_bytes = sail_dtype_bytes(t, (uint64_t)p->cols),
                       .reordered = reordered};
    if (s->row_bytes == SIZE_MAX || (reordered && p->vector && sail_dtype_is_quantised(t)))
        return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s: rows of %lld are no whole blocks of %s", f->file, f->name,
                         (long long)p->cols, f->dtype_name);
    return SAIL_OK;
}

static sail_code missing(const sail__weights *w, const char *file, const char *name, const sail__param *p,
                         size_t others, sail_err *err)
{
    char more[48] = "";
    if (others)
        snprintf(more, sizeof more, ", and %zu more", others);
    const char *hint = p->role == SAIL__ROLE_HEAD
                           ? " (a model that shares it with the embedding says tie_word_embeddings: "
                             "true)"
                           : "";
    if (p->vector)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: tensor %s [%lld] is missing%s%s", file, name, (long long)p->cols,
                         more, hint);
    return sail_fail(err, SAIL_E_NOTFOUND, "%s: tensor %s [%lld, %lld] is missing%s%s", file, name, (long long)p->rows,
                     (long long)p->cols, more, hint);
}

/* ---- Hugging Face directories ---- */

static bool find_hf(const sail__weights *w, const sail__param *p, struct found *f)
{
    const sail__st_tensor *t = sail__safetensors_find(w->safetensors, p->name);
    f->name = p->name;
    f->file = w->path;
    if (!t)
        return false;
    *f = (struct found){.file = t->file,
                        .name = t->name,
                        .data = t->data,
                        .dtype = t->dtype,
                        .dtype_name = t->dtype_name,
                        .rank = t->rank,
                        .rows = t->shape[0],
                        .cols = t->rank == 1 ? t->shape[0] : t->shape[1]};
    sail__st_shape(t, f->shape, sizeof f->shape);
    return true;
}

/* Buffers that old checkpoints carry, and heads that a tied model repeats. */
static bool harmless(const sail__weights *w, const char *name)
{
    static const char *const ends[] = {".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"};
    static const char *const normalizer[] = {"normalizer.mean", "normalizer.var", "normalizer.count"}; /* the config has them, too */
    char head[128];
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t n = strlen(name), m = strlen(ends[i]);
        if (n > m && !strcmp(name + n - m, ends[i]))
            return true;
    }
    if (w->config.score_module && sail__among(name, normalizer, sizeof normalizer / sizeof normalizer[0]))
        return true;
    return w->config.tied && sail__family_name(w->config.family, SAIL__ROLE_HEAD, 0, head, sizeof head) &&
           !strcmp(name, head);
}

static sail_code open_hf(sail__weights *w, sail_err *err)
{
    const char *one = sail__path_join(w->arena, w->path, "model.safetensors");
    const char *index = sail__path_join(w->arena, w->path, "model.safetensors.index.json");
    const char *tokenizer = sail__path_join(w->arena, w->path, "tokenizer.json");
    const char *config = sail__path_join(w->arena, w->path, "config.json");
    const char *pickle = sail__path_join(w->arena, w->path, "pytorch_model.bin");
    const char *pickles = sail__path_join(w->arena, w->path, "pytorch_model.bin.index.json");
    if (!one || !index || !tokenizer || !config || !pickle || !pickles)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to open it", w->path);
    if (!sail__file_exists(config))
        return sail_fail(err, SAIL_E_NOTFOUND,
                         "%s: no config.json in it; a Hugging Face model directory or a .gguf file was "
                         "expected",
                         w->path);
    SAIL_TRY(sail__config_read(w->arena, w->path, &w->config, &w->config_node, err));
    if (sail__file_exists(one))
        SAIL_TRY(sail__safetensors_open(one, &w->safetensors, err));
    else if (sail__file_exists(index))
        SAIL_TRY(sail__safetensors_open_index(index, &w->safetensors, err));
    else if (sail__file_exists(pickle) || sail__file_exists(pickles))
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: only pytorch_model.bin, a Python pickle, which can run code when it is read: "
                         "it is refused; convert it to safetensors",
                         w->path);
    else
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: neither model.safetensors nor model.safetensors.index.json in it",
                         w->path);
    w->tokenizer = sail__file_exists(tokenizer) ? tokenizer : NULL;
    return SAIL_OK;
}

/* ---- GGUF ---- */

static void found_in_gguf(const sail__gguf_tensor *t, const char *file, struct found *f)
{
    *f = (struct found){.file = file,
                        .name = t->name,
                        .data = t->data,
                        .dtype = t->dtype,
                        .dtype_name = t->type_name,
                        .rank = t->rank,
                        .rows = t->rows,
                        .cols = t->cols};
    sail__gguf_shape(t, f->shape, sizeof f->shape);
}

/* q, k or v out of a tensor that has the rows of all three: Phi-2, as it was converted at first. */
static bool find_fused(const sail__weights *w, const sail__param *p, struct found *f)
{
    const sail__model_config *c = &w->config;
    const bool bias = p->role == SAIL__ROLE_Q_BIAS || p->role == SAIL__ROLE_K_BIAS || p->role == SAIL__ROLE_V_BIAS;
    const sail__role first = bias ? SAIL__ROLE_Q_BIAS : SAIL__ROLE_Q, second = bias ? SAIL__ROLE_K_BIAS : SAIL__ROLE_K,
                     third = bias ? SAIL__ROLE_V_BIAS : SAIL__ROLE_V;
    char name[128];
    if ((p->role != first && p->role != second && p->role != third) ||
        !sail__gguf_name(bias ? SAIL__ROLE_QKV_BIAS : SAIL__ROLE_QKV, p->layer, name, sizeof name))
        return false;
    const sail__gguf_tensor *t = sail__gguf_find(w->gguf, name);
    const int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim;
    if (!t || t->rank != (bias ? 1 : 2) || (bias ? t->cols : t->rows) != q + 2 * kv || t->dtype == SAIL_DTYPE_COUNT)
        return false;
    const int64_t before = p->role == first ? 0 : p->role == second ? q : q + kv, own = p->role == first ? q : kv;
    const size_t bytes = sail_dtype_bytes(t->dtype, (uint64_t)(bias ? before : before * t->cols));
    if (bytes == SIZE_MAX)
        return false;
    found_in_gguf(t, sail__gguf_path(w->gguf), f);
    f->data = (const unsigned char *)f->data + bytes;
    *(bias ? &f->cols : &f->rows) = own;
    return true;
}

static bool find_gguf(const sail__weights *w, const sail__param *p, struct found *f)
{
    char name[128];
    *f = (struct found){.file = sail__gguf_path(w->gguf), .name = p->name};
    if (!sail__gguf_name(p->role, p->layer, name, sizeof name))
        return false;
    const sail__gguf_tensor *t = sail__gguf_find(w->gguf, name);
    if (!t)
        return find_fused(w, p, f);
    found_in_gguf(t, f->file, f);
    return true;
}

static sail_code open_gguf(sail__weights *w, sail_err *err)
{
    SAIL_TRY(sail__gguf_open(w->path, &w->gguf, err));
    SAIL_TRY(sail__config_from_gguf(w->arena, w->gguf, &w->config, err));
    if (w->config.head_dim % 2)
        return sail_fail(err, SAIL_E_FORMAT, "%s: heads of %d entries; an even number was expected", w->path,
                         w->config.head_dim);
    return SAIL_OK;
}

/* ---- both ---- */

static sail_code match(sail__weights *w, sail_err *err)
{
    SAIL_TRY(sail__model_params(w->arena, &w->config, &w->params, &w->n, err));
    w->slots = sail__arena_array(w->arena, w->n, sizeof *w->slots);
    if (!w->slots)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its list of parameters", w->path);
    size_t absent = 0;
    const sail__param *first = NULL;
    for (size_t i = 0; i < w->n; i++) {
        struct found f;
        const sail__param *p = &w->params[i];
        if (!(w->gguf ? find_gguf(w, p, &f) : find_hf(w, p, &f))) {
            first = first ? first : p;
            absent++;
            continue;
        }
        const bool reordered = w->gguf ? sail__gguf_reordered(&w->config, p->role) : sail__param_reordered(&w->config, p->role);
        SAIL_TRY(fill_slot(&w->slots[i], p, &f, reordered, err));
        w->slots[i].plus = w->gguf ? (float)sail__gguf_plus(&w->config, p->role) : 0;
        if (w->slots[i].plus != 0 && w->slots[i].dtype != SAIL_F32)
            return sail_fail(err, SAIL_E_DTYPE, "%s: tensor %s has type %s; F32 was expected, which norms have in GGUF files", f.file, f.name,
                             f.dtype_name);
    }
    if (first) {
        char name[128];
        if (!w->gguf || !sail__gguf_name(first->role, first->layer, name, sizeof name))
            snprintf(name, sizeof name, "%s", first->name);
        return missing(w, w->path, name, first, absent - 1, err);
    }
    qsort(w->slots, w->n, sizeof *w->slots, by_name);
    return SAIL_OK;
}

/* Whether a slot reads it (fused ones begin where q's does), or the config did. */
static bool wanted_gguf(const sail__weights *w, const sail__gguf_tensor *t)
{
    static const char *const rotary[] = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};
    if (sail__among(t->name, rotary, sizeof rotary / sizeof rotary[0]))
        return true;
    for (size_t i = 0; i < w->n; i++)
        if (w->slots[i].data == t->data)
            return true;
    return false;
}

static void warn_extra(const sail__weights *w)
{
    static const char text[] = "is none of the model's parameters and is ignored";
    if (w->gguf) {
        for (size_t i = 0; i < sail__gguf_count(w->gguf); i++)
            if (!wanted_gguf(w, sail__gguf_at(w->gguf, i)))
                warn(w, text, sail__gguf_at(w->gguf, i)->name, w->path);
        return;
    }
    for (size_t i = 0; i < sail__safetensors_count(w->safetensors); i++) {
        const sail__st_tensor *t = sail__safetensors_at(w->safetensors, i);
        if (!find(w, t->name) && !harmless(w, t->name))
            warn(w, text, t->name, t->file);
    }
}

static sail_code source_dtype(void *self, const char *name, sail_dtype *out, sail_err *err)
{
    return sail__weights_dtype(self, name, out, err);
}

static sail_code source_f32(void *self, const char *name, int64_t first, int64_t count, float *out, sail_err *err)
{
    return sail__weights_read_f32(self, name, first, count, out, err);
}

static sail_code source_raw(void *self, const char *name, int64_t first, int64_t count, void *out, sail_err *err)
{
    return sail__weights_read_raw(self, name, first, count, out, err);
}

static sail_code open_any(sail__weights *w, sail_err *err)
{
    static const char *const pickles[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
    if (sail__is_dir(w->path))
        return open_hf(w, err);
    if (!sail__file_exists(w->path))
        return sail_fail(err, SAIL_E_NOTFOUND,
                         "%s: no such model; a Hugging Face model directory or a .gguf file was expected", w->path);
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++)
        if (sail__ends_with(w->path, pickles[i]))
            return sail_fail(err, SAIL_E_FORMAT,
                             "%s: a PyTorch file is a Python pickle, which can run code when it is read: it "
                             "is refused; convert it to safetensors",
                             w->path);
    if (sail__ends_with(w->path, ".safetensors"))
        return sail_fail(err, SAIL_E_ARG, "%s: give the directory that holds it and its config.json", w->path);
    return open_gguf(w, err);
}

sail_code sail__weights_open(sail_ctx *ctx, const char *path, sail__weights **out, sail_err *err)
{
    *out = NULL;
    sail_arena *arena = sail__arena_new();
    sail__weights *w = arena ? sail__arena_alloc(arena, sizeof *w) : NULL;
    const char *copy = w ? sail__arena_strdup(arena, path) : NULL;
    if (!copy) {
        sail__arena_free(arena);
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to open it", path);
    }
    w->arena = arena, w->ctx = ctx, w->path = copy;
    w->source = (sail__param_source){w, source_dtype, source_f32, source_raw};
    sail_code code = open_any(w, err);
    if (code == SAIL_OK)
        code = match(w, err);
    if (code != SAIL_OK) {
        sail__weights_close(w);
        return sail__hub_advise(path, err);
    }
    warn_extra(w);
    *out = w;
    return SAIL_OK;
}

void sail__weights_close(sail__weights *w)
{
    if (!w)
        return;
    sail__safetensors_close(w->safetensors);
    sail__gguf_close(w->gguf);
    sail__arena_free(w->arena);
}

/* ---- reading ---- */

static sail_code rows(const sail__weights *w, const char *name, int64_t first, int64_t count, const struct slot **s,
                      sail_err *err)
{
    *s = find(w, name);
    if (!*s)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: the model has no parameter %s", w->path, name);
    if (first < 0 || count < 0 || first > (*s)->param->rows || count > (*s)->param->rows - first)
        return sail_fail(err, SAIL_E_ARG, "%s: parameter %s: rows %lld to %lld of %lld", w->path, name,
                         (long long)first, (long long)(first + count), (long long)(*s)->param->rows);
    return SAIL_OK;
}

/* Where the file keeps row i (of a vector: entry i). */
static int64_t stored_at(const sail__weights *w, const struct slot *s, int64_t i)
{
    if (!s->reordered)
        return i;
    return w->gguf ? sail__gguf_file_row(&w->config, s->param->role, i) : sail__param_file_row(&w->config, s->param->role, i);
}

/* One row as stored, in canonical order, into out. */
static void raw_row(const sail__weights *w, const struct slot *s, int64_t row, unsigned char *out)
{
    if (!s->param->vector || !s->reordered) {
        memcpy(out, s->data + (size_t)stored_at(w, s, row) * s->row_bytes, s->row_bytes);
        return;
    }
    size_t each = sail_dtype_block_bytes(s->dtype);
    for (int64_t i = 0; i < s->param->cols; i++)
        memcpy(out + (size_t)i * each, s->data + (size_t)stored_at(w, s, i) * each, each);
}

sail_code sail__weights_dtype(const sail__weights *w, const char *name, sail_dtype *out, sail_err *err)
{
    const struct slot *s;
    SAIL_TRY(rows(w, name, 0, 0, &s, err));
    *out = s->dtype;
    return SAIL_OK;
}

sail_code sail__weights_read_raw(const sail__weights *w, const char *name, int64_t first, int64_t count, void *out,
                                 sail_err *err)
{
    const struct slot *s;
    SAIL_TRY(rows(w, name, first, count, &s, err));
    if (s->plus != 0)
        return sail__weights_read_f32(w, name, first, count, out, err);
    if (!s->reordered) {
        if (count)
            memcpy(out, s->data + (size_t)first * s->row_bytes, (size_t)count * s->row_bytes);
        return SAIL_OK;
    }
    for (int64_t i = 0; i < count; i++)
        raw_row(w, s, first + i, (unsigned char *)out + (size_t)i * s->row_bytes);
    return SAIL_OK;
}

sail_code sail__weights_read_f32(const sail__weights *w, const char *name, int64_t first, int64_t count, float *out,
                                 sail_err *err)
{
    const struct slot *s;
    SAIL_TRY(rows(w, name, first, count, &s, err));
    const unsigned char *data = s->data + (size_t)first * s->row_bytes;
    size_t cols = (size_t)s->param->cols;
    if (!s->reordered && s->plus == 0 && (uintptr_t)data % 8 == 0)
        return sail_to_f32(s->dtype, data, out, (size_t)count * cols, err);
    unsigned char *row = sail__malloc(s->row_bytes ? s->row_bytes : 1);
    if (!row)
        return sail_fail(err, SAIL_E_NOMEM, "%s: parameter %s: no memory for a row", w->path, name);
    sail_code code = SAIL_OK;
    for (int64_t i = 0; i < count && code == SAIL_OK; i++) {
        raw_row(w, s, first + i, row);
        code = sail_to_f32(s->dtype, row, out + (size_t)i * cols, cols, err);
        for (size_t k = 0; k < cols && s->plus != 0; k++)
            out[(size_t)i * cols + k] -= s->plus;
    }
    sail__free(row);
    return code;
}

sail_code sail__weights_hash(const sail__weights *w, char out[33], sail_err *err)
{
    uint64_t *hashes = sail__malloc((w->n ? w->n : 1) * sizeof *hashes);
    if (!hashes)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its hash", w->path);
    for (size_t i = 0; i < w->n; i++) {
        const struct slot *s = &w->slots[i];
        uint64_t facts[4] = {s->dtype, (uint64_t)s->param->rows, (uint64_t)s->param->cols,
                             w->gguf && s->reordered ? (uint64_t)w->config.head_dim : 0};
        uint64_t h = sail__hash64(s->name, strlen(s->name), 0);
        h = sail__hash64(facts, sizeof facts, h);
        hashes[i] = sail__hash64(s->data, (size_t)s->param->rows * s->row_bytes, h);
    }
    sail__hash_hex(hashes, w->n * sizeof *hashes, out);
    sail__free(hashes);
    return SAIL_OK;
}

/* ---- the rest ---- */

const char *sail__weights_path(const sail__weights *w)
{
    return w->path;
}

const sail__model_config *sail__weights_config(const sail__weights *w)
{
    return &w->config;
}

const sail__param *sail__weights_params(const sail__weights *w, size_t *n)
{
    *n = w->n;
    return w->params;
}

const sail__param *sail__weights_find(const sail__weights *w, const char *name)
{
    const struct slot *s = find(w, name);
    return s ? s->param : NULL;
}

const sail__param_source *sail__weights_source(const sail__weights *w)
{
    return &w->source;
}

const char *sail__weights_tokenizer_json(const sail__weights *w)
{
    return w->tokenizer;
}

const sail__gguf *sail__weights_gguf(const sail__weights *w)
{
    return w->gguf;
}

const sail_node *sail__weights_config_node(const sail__weights *w)
{
    return w->config_node;
}
