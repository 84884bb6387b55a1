/* state.c - a stage's state to and from a checkpoint: weights, moments, position in the data, counters, reference cache. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../io/hash.h"
#include "../io/safetensors.h"
#include "trainer.h"

/* ---- the flat space as one safetensors file: weight.NAME, then each state of the optimiser ---- */

static const char *part_name(const sail__flat *f, int part)
{
    return part == 0 ? "weight" : f->plan.state_name[part - 1];
}

static sail_tensor part_view(const sail__flat *f, int entry, int part)
{
    return part == 0 ? sail__flat_view(f, entry, SAIL__FLAT_WEIGHT, 0) : sail__flat_view(f, entry, SAIL__FLAT_STATE, part - 1);
}

static sail_code entry_list(const sail__flat *f, sail_arena *a, sail__st_entry **out, size_t *n, sail_err *err)
{
    int parts = 1 + f->plan.states;
    *out = sail__arena_array(a, (size_t)(parts * f->n_entries) + 1, sizeof **out);
    *n = 0;
    for (int p = 0; *out && p < parts; p++)
        for (int i = 0; i < f->n_entries; i++) {
            const sail__flat_entry *e = &f->entries[i];
            const char *name = sail__arena_printf(a, "%s.%s", part_name(f, p), e->name);
            if (!name)
                return sail_fail(err, SAIL_E_NOMEM, "out of memory");
            (*out)[(*n)++] = (sail__st_entry){.name = name, .dtype = SAIL_F32, .rank = 2, .shape = {e->rows, e->cols}};
        }
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code save_flat(sail__trainer *t, const char *path, sail_arena *a, sail_err *err)
{
    sail__flat *f = sail__model_flat(t->session->model);
    sail__st_entry *entries;
    size_t n;
    sail__st_writer *w = NULL;
    SAIL_TRY(entry_list(f, a, &entries, &n, err));
    SAIL_TRY(sail__st_begin(path, entries, n, NULL, &w, err));
    sail_code code = SAIL_OK;
    float *buffer = NULL;
    size_t cap = 0;
    for (size_t k = 0; k < n && code == SAIL_OK; k++) {
        sail_tensor v = part_view(f, (int)(k % (size_t)f->n_entries), (int)(k / (size_t)f->n_entries));
        size_t count = (size_t)(v.rows * v.cols);
        code = sail__grow(&buffer, &cap, count, sizeof *buffer, err);
        if (code == SAIL_OK)
            code = sail__tensor_get(f->rt, &v, buffer, err);
        for (size_t i = 0; i < count && code == SAIL_OK; i++)
            if (!isfinite(buffer[i]))
                code = sail_fail(err, SAIL_E_NUMERIC, "%s holds a number that is not finite: no checkpoint is written", entries[k].name);
        if (code == SAIL_OK)
            code = sail__st_write(w, buffer, count * sizeof *buffer, err);
    }
    sail__free(buffer);
    if (code != SAIL_OK) {
        sail__st_abort(w);
        return code;
    }
    return sail__st_commit(w, err);
}

static sail_code load_flat(sail__trainer *t, const char *path, sail_arena *a, sail_err *err)
{
    sail__flat *f = sail__model_flat(t->session->model);
    sail__st_entry *entries;
    size_t n;
    sail__safetensors *st;
    SAIL_TRY(entry_list(f, a, &entries, &n, err));
    SAIL_TRY(sail__safetensors_open(path, &st, err));
    sail_code code = SAIL_OK;
    for (size_t k = 0; k < n && code == SAIL_OK; k++) {
        sail_tensor v = part_view(f, (int)(k % (size_t)f->n_entries), (int)(k / (size_t)f->n_entries));
        const sail__st_tensor *x = sail__safetensors_find(st, entries[k].name);
        size_t bytes = (size_t)(v.rows * v.cols) * sizeof(float);
        if (!x || x->dtype != SAIL_F32 || x->bytes != bytes) {
            code = sail_fail(err, SAIL_E_FORMAT, "%s: %s is not there with %zu bytes of f32: the checkpoint is of another model, adapter or optimiser",
                             path, entries[k].name, bytes);
            break;
        }
        float *copy = sail__malloc(bytes + 1);
        code = copy ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (copy) {
            memcpy(copy, x->data, bytes);
            code = sail__tensor_put(f->rt, &v, copy, err);
        }
        sail__free(copy);
    }
    sail__safetensors_close(st);
    return code == SAIL_OK ? sail__flat_refresh(f, err) : code;
}

/* ---- state.json ---- */

/* A map being filled; `failed` is looked at once, at the end: a checkpoint that lacks a value must not be written. */
typedef struct filling {
    sail_arena *arena;
    sail_node *map;
    bool failed;
} filling;

static void set_node(filling *f, const char *key, sail_node *n)
{
    if (!key || !n || !sail__node_set(f->arena, f->map, key, n))
        f->failed = true;
}

static void set(filling *f, const char *key, double v)
{
    if (!isfinite(v)) /* JSON has no NaN: what is absent is NaN */
        return;
    sail_node *n = sail__node_new(f->arena, SAIL_NODE_FLOAT, "checkpoint", 0, 0);
    if (n)
        n->number = v;
    set_node(f, key, n);
}

static void set_text(filling *f, const char *key, const char *text)
{
    set_node(f, key, text ? sail__node_string(f->arena, text, "checkpoint") : NULL);
}

static double get(const sail_node *map, const char *key)
{
    double v;
    sail_err ignored;
    const sail_node *n = sail__node_get(map, key);
    return n && sail__node_as_double(n, key, &v, &ignored) == SAIL_OK ? v : NAN;
}

static bool text_is(const sail_node *map, const char *key, const char *text)
{
    const sail_node *n = sail__node_get(map, key);
    return n && n->kind == SAIL_NODE_STRING && strcmp(n->string.data, text) == 0;
}

/* The numbers that every checkpoint has. */
typedef struct field {
    const char *key;
    int64_t *integer;
    double *number;
} field;
enum { FIELDS = 38 };

static void fields_of(sail__trainer *t, field out[FIELDS])
{
    sail__train_state *s = &t->state;
    sail__guards *g = &t->guards;
    const field f[] = {
        {"step", &s->step, NULL},
        {"updates", &s->updates, NULL},
        {"best_step", &s->best_step, NULL},
        {"evaluated", &s->evaluated, NULL},
        {"position", &t->stream.position, NULL},
        {"backoff", NULL, &t->stream.backoff},
        {"loss_mean", NULL, &g->seen.loss.mean},
        {"loss_var", NULL, &g->seen.loss.var},
        {"loss_n", &g->seen.loss.n, NULL},
        {"kl_mean", NULL, &g->seen.kl.mean},
        {"kl_var", NULL, &g->seen.kl.var},
        {"kl_n", &g->seen.kl.n, NULL},
#define TREND(NAME)                                                                                                                          \
    {#NAME "_sum", NULL, &g->seen.NAME.sum}, {#NAME "_n", &g->seen.NAME.n, NULL}, {#NAME "_windows", &g->seen.NAME.windows, NULL},           \
        {#NAME "_first", NULL, &g->seen.NAME.first}, {#NAME "_last", NULL, &g->seen.NAME.last}, {#NAME "_top", NULL, &g->seen.NAME.top},      \
        {#NAME "_falls", &g->seen.NAME.falls, NULL}
        TREND(chosen),
        TREND(length),
#undef TREND
        {"vectors_most", NULL, &g->seen.vectors.most},
        {"vectors_equal", &g->seen.vectors.equal, NULL},
        {"bad", &g->ladder.bad, NULL},
        {"strikes", &g->ladder.strikes, NULL},
        {"good", &g->ladder.good, NULL},
        {"empty", &g->ladder.empty, NULL},
        {"skipped", &g->ladder.skipped, NULL},
        {"rollbacks", &g->ladder.rollbacks, NULL},
        {"healthy", &g->ladder.healthy, NULL},
        {"candidate", &g->ladder.candidate, NULL},
        {"alarms", &g->ladder.alarms, NULL},
        {"coef", NULL, &g->ladder.coef},
    };
    _Static_assert(sizeof f / sizeof *f == FIELDS, "as many as there are");
    memcpy(out, f, sizeof f);
}

/* All that the rows are to the model: two data sets with the same hash train alike. */
static void hash_rows(sail__hasher *h, const sail__rows *rows)
{
    sail__hasher_integer(h, (int64_t)rows->n);
    for (size_t i = 0; i < rows->n; i++) {
        const sail__encoded *e = &rows->encoded[i];
        sail__hasher_bytes(h, e->prompt, e->n_prompt * sizeof *e->prompt);
        sail__hasher_bytes(h, e->chosen, e->n_chosen * sizeof *e->chosen);
        sail__hasher_bytes(h, e->rejected, e->n_rejected * sizeof *e->rejected);
        for (size_t k = 0; k < e->n_behind; k++)
            sail__hasher_bytes(h, e->behind[k].ids, e->behind[k].n * sizeof *e->behind[k].ids);
    }
}

static const char *data_hash(sail__trainer *t)
{
    if (!t->data_hash[0]) {
        sail__hasher h;
        sail__hasher_begin(&h);
        hash_rows(&h, &t->stream.train);
        hash_rows(&h, &t->stream.held_out);
        sail__hasher_hex(&h, t->data_hash);
    }
    return t->data_hash;
}

static sail_code hook_state(sail__trainer *t, filling *f, sail_err *err)
{
    sail_buf json = {0};
    if (!t->o.hooks || !t->o.hooks->state_save)
        return SAIL_OK;
    sail_code code = t->o.hooks->state_save(t->o.hooks->user, &json, err);
    if (code == SAIL_OK && json.oom)
        f->failed = true;
    if (code == SAIL_OK && json.len)
        set_text(f, "hooks", sail__arena_strndup(f->arena, json.data, json.len));
    sail__buf_free(&json);
    return code;
}

static sail_code state_node(sail__trainer *t, sail_arena *a, sail_node **out, sail_err *err)
{
    filling f = {.arena = a, .map = sail__node_new(a, SAIL_NODE_MAP, "checkpoint", 0, 0)};
    field fields[FIELDS];
    if (!f.map)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__session_hash(t->session, err));
    set_text(&f, "base", t->session->base_hash);
    set_text(&f, "data", data_hash(t));
    set_text(&f, "stage", t->o.stage->name);
    set(&f, "version", 1);
    fields_of(t, fields);
    for (int i = 0; i < FIELDS; i++)
        set(&f, fields[i].key, fields[i].integer ? (double)*fields[i].integer : *fields[i].number);
    set(&f, "best", t->state.best);
    set(&f, "stopped", t->state.stopped);
    set(&f, "seed_low", (double)(uint32_t)t->o.stage->seed);
    set(&f, "rows", (double)t->stream.train.n);
    for (int i = 0; i < SAIL_OBJECTIVE_STATE; i++)
        set(&f, sail__arena_printf(a, "objective_%d", i), t->learner.state[i]);
    SAIL_TRY(hook_state(t, &f, err));
    *out = f.map;
    return f.failed ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

static sail_code save_cache(sail__checkpoint_writer *w, const char *name, const sail__ref_cache *c, size_t rows, sail_err *err)
{
    return c->values ? sail__checkpoint_add(w, name, c->values, (size_t)c->first[rows] * sizeof *c->values, err) : SAIL_OK;
}

/* Which of several ways the device computes by, so that a resumed run computes the same bits. */
static const char choices_name[] = "device_choices";
enum { CHOICES_MOST = 1 << 20 }; /* bytes */

static sail_code save_choices(sail__trainer *t, sail__checkpoint_writer *w, sail_err *err)
{
    const sail_runtime *rt = sail__model_flat(t->session->model)->rt;
    size_t n = 0, again = 0;
    if (!rt->backend->choices_save)
        return SAIL_OK;
    SAIL_TRY(rt->backend->choices_save(rt->device, NULL, 0, &n, err));
    char *data = sail__malloc(n + 1);
    sail_code code = data ? rt->backend->choices_save(rt->device, data, n + 1, &again, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = sail__checkpoint_add(w, choices_name, data, n, err);
    sail__free(data);
    return code;
}

static sail_code load_choices(sail__trainer *t, const char *path, sail_err *err)
{
    const sail_runtime *rt = sail__model_flat(t->session->model)->rt;
    char *data;
    size_t n;
    if (!path || !rt->backend->choices_load || !sail__file_exists(path))
        return SAIL_OK;
    SAIL_TRY(sail__file_read(path, CHOICES_MOST, &data, &n, err));
    const sail_code code = rt->backend->choices_load(rt->device, data, n, err);
    sail__free(data);
    return code;
}

static sail_code save_files(sail__trainer *t, sail__checkpoint_writer *w, sail_arena *a, sail_err *err)
{
    SAIL_TRY(save_flat(t, sail__path_join(a, sail__checkpoint_temporary(w), "trained.safetensors"), a, err));
    SAIL_TRY(save_choices(t, w, err));
    SAIL_TRY(save_cache(w, "reference_train.f32", &t->stream.train_ref, t->stream.train.n, err));
    SAIL_TRY(save_cache(w, "reference_held_out.f32", &t->stream.held_ref, t->stream.held_out.n, err));
    if (t->stream.replay.n) {
        sail_buf b = {0};
        sail__replay_write(&t->stream.replay, &b);
        sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory for the replay buffer") : sail__checkpoint_add(w, "replay.bin", b.data, b.len, err);
        sail__buf_free(&b);
        SAIL_TRY(code);
    }
    if (t->stream.memory)
        SAIL_TRY(sail__checkpoint_add(w, "prompts.bin", t->stream.memory, t->stream.train.n * sizeof *t->stream.memory, err));
    return t->session->has_adapter ? sail__session_save(t->session, sail__path_join(a, sail__checkpoint_temporary(w), "adapter"), err)
                                   : SAIL_OK;
}

sail_code sail__trainer_save(sail__trainer *t, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__checkpoint_writer *w = NULL;
    sail_node *state = NULL;
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = sail__store_sync(t->o.store, err);
    if (code == SAIL_OK)
        code = state_node(t, a, &state, err);
    if (code == SAIL_OK)
        code = sail__checkpoint_begin(t->checkpoints, t->state.step, &w, err);
    if (code == SAIL_OK) {
        code = save_files(t, w, a, err);
        if (code == SAIL_OK)
            code = sail__checkpoint_commit(w, state, err);
        else
            sail__checkpoint_abort(w);
    }
    const bool ended = sail__trainer_at_end(t); /* nothing goes back any more */
    const int64_t besides[] = {t->o.stage->checkpoint.best && !isnan(t->state.best) ? t->state.best_step : -1,
                               ended ? -1 : t->guards.ladder.healthy, ended ? -1 : t->guards.ladder.candidate};
    if (code == SAIL_OK)
        code = sail__checkpoint_prune(t->checkpoints, t->o.stage->checkpoint.keep, besides, sizeof besides / sizeof *besides, err);
    if (code == SAIL_OK && t->o.hooks && t->o.hooks->on_checkpoint)
        code = t->o.hooks->on_checkpoint(t->o.hooks->user, t->state.step, t->checkpoints, err);
    sail__arena_free(a);
    return code == SAIL_OK ? code : sail_fail_in(err, "checkpoint of step %lld", (long long)t->state.step);
}

static sail_code load_cache(const char *path, const sail__rows *rows, sail__ref_cache *c, sail_err *err)
{
    char *data;
    size_t size;
    if (!sail__file_exists(path))
        return SAIL_OK;
    SAIL_TRY(sail__stream_cache_new(rows, c, err));
    size_t want = (size_t)c->first[rows->n] * sizeof *c->values;
    SAIL_TRY(sail__file_read(path, want + 1, &data, &size, err));
    sail_code code = size == want ? SAIL_OK
                                  : sail_fail(err, SAIL_E_FORMAT, "%s has %zu bytes, the data asks for %zu: the data changed", path, size, want);
    if (code == SAIL_OK)
        memcpy(c->values, data, size);
    sail__free(data);
    return code;
}

static sail_code take_state(sail__trainer *t, const sail_node *m, const char *path, sail_err *err)
{
    field fields[FIELDS];
    const sail_node *hooks = sail__node_get(m, "hooks");
    SAIL_TRY(sail__session_hash(t->session, err));
    if (!text_is(m, "base", t->session->base_hash))
        return sail_fail(err, SAIL_E_STATE, "%s: the checkpoint was made from another base model than %s is now: put the old one back, or begin "
                         "anew with `sail run --force`", path, t->session->path);
    if (get(m, "rows") != (double)t->stream.train.n)
        return sail_fail(err, SAIL_E_STATE, "%s: the data has %zu usable rows now, %g when the checkpoint was made: put the old data back, or "
                         "begin anew with `sail run --force`", path, t->stream.train.n, get(m, "rows"));
    if (!text_is(m, "data", data_hash(t)))
        return sail_fail(err, SAIL_E_STATE, "%s: the data (or how it is made tokens) has changed since the checkpoint was made: put the old data "
                         "back, or begin anew with `sail run --force`", path);
    fields_of(t, fields);
    for (int i = 0; i < FIELDS; i++) {
        double v = get(m, fields[i].key);
        if (isnan(v))
            return sail_fail(err, SAIL_E_FORMAT, "%s: state.json has no number `%s`: another version of sail wrote it; go on with that, or begin anew with "
                             "`sail run --force`", path, fields[i].key);
        if (fields[i].integer)
            *fields[i].integer = (int64_t)v;
        else
            *fields[i].number = v;
    }
    t->state.best = get(m, "best");
    t->state.stopped = get(m, "stopped") > 0;
    for (int i = 0; i < SAIL_OBJECTIVE_STATE; i++) {
        char key[32];
        snprintf(key, sizeof key, "objective_%d", i);
        double v = get(m, key);
        t->learner.state[i] = isnan(v) ? 0 : v;
    }
    if (hooks && hooks->kind == SAIL_NODE_STRING && t->o.hooks && t->o.hooks->state_load)
        SAIL_TRY(t->o.hooks->state_load(t->o.hooks->user, hooks->string.data, hooks->string.len, err));
    return SAIL_OK;
}

/* The replay buffer and what is remembered of prompts, where the checkpoint has them. */
static sail_code load_stream(sail__stream *st, const char *replay, const char *memory, sail_err *err)
{
    char *data;
    size_t size;
    if (sail__file_exists(replay)) {
        SAIL_TRY(sail__file_read(replay, (size_t)1 << 40, &data, &size, err));
        sail_code code = sail__replay_read(&st->replay, data, size, (int64_t)st->train.n, st->session->config->vocab, replay, err);
        sail__free(data);
        SAIL_TRY(code);
    }
    if (!st->memory || !sail__file_exists(memory))
        return SAIL_OK;
    size_t want = st->train.n * sizeof *st->memory;
    SAIL_TRY(sail__file_read(memory, want + 1, &data, &size, err));
    if (size == want)
        memcpy(st->memory, data, size);
    sail__free(data);
    return size == want ? SAIL_OK : sail_fail(err, SAIL_E_FORMAT, "%s has %zu bytes, the data asks for %zu: the data changed", memory, size, want);
}

sail_code sail__trainer_load(sail__trainer *t, bool *found, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__checkpoint c;
    *found = false;
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = sail__checkpoint_newest(t->o.ctx, a, t->checkpoints, -1, &c, err);
    if (code == SAIL_E_NOTFOUND) {
        sail__arena_free(a);
        err->code = SAIL_OK;
        err->message[0] = '\0';
        return SAIL_OK;
    }
    if (code == SAIL_OK)
        code = take_state(t, c.state, c.path, err);
    if (code == SAIL_OK)
        code = load_choices(t, sail__path_join(a, c.path, choices_name), err);
    if (code == SAIL_OK)
        code = load_flat(t, sail__path_join(a, c.path, "trained.safetensors"), a, err);
    if (code == SAIL_OK)
        code = load_cache(sail__path_join(a, c.path, "reference_train.f32"), &t->stream.train, &t->stream.train_ref, err);
    if (code == SAIL_OK)
        code = load_cache(sail__path_join(a, c.path, "reference_held_out.f32"), &t->stream.held_out, &t->stream.held_ref, err);
    if (code == SAIL_OK)
        code = load_stream(&t->stream, sail__path_join(a, c.path, "replay.bin"), sail__path_join(a, c.path, "prompts.bin"), err);
    *found = code == SAIL_OK;
    sail__arena_free(a);
    return code;
}

sail_code sail__trainer_return(sail__trainer *t, int64_t step, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__checkpoint c;
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = sail__checkpoint_of(a, t->checkpoints, step, &c, err);
    if (code == SAIL_OK)
        code = take_state(t, c.state, c.path, err);
    if (code == SAIL_OK)
        code = load_flat(t, sail__path_join(a, c.path, "trained.safetensors"), a, err);
    if (code == SAIL_OK) {
        sail__replay_free(&t->stream.replay);
        code = load_stream(&t->stream, sail__path_join(a, c.path, "replay.bin"), sail__path_join(a, c.path, "prompts.bin"), err);
    }
    sail__arena_free(a);
    return code == SAIL_OK ? sail__checkpoint_cut(t->checkpoints, step, err) : code;
}
