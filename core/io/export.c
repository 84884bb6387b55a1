/* export.c - a model as a Hugging Face directory: weights in shards, configs, tokenizer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"
#include "hf_config.h"
#include "safetensors.h"
#include "tokenizer.h"

enum { CHUNK = 1 << 18, LARGEST_COPY = 1 << 30 };
static const uint64_t usual_shard = 5000000000u;

struct job {
    sail_arena *arena;
    const char *dir;
    const sail__export *e;
    const sail__param *params;
    size_t n;
    sail__st_entry *entries;
    int *shard; /* of each parameter */
    int shards;
    uint64_t bytes; /* of all */
    sail_err *err;
};

static sail_code no_memory(const char *dir, sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write the model", dir);
}

static sail_code take_away(const char *dir, const char *name, sail_arena *a, sail_err *err)
{
    const char *path = sail__path_join(a, dir, name);
    if (!path)
        return no_memory(dir, err);
    if (unlink(path) && errno != ENOENT)
        return sail_fail(err, SAIL_E_IO, "%s: cannot take the old file away: %s", path, strerror(errno));
    return SAIL_OK;
}

/* ---- weights ---- */

static const char *shard_name(const struct job *j, int shard)
{
    return j->shards == 1 ? "model.safetensors"
                          : sail__arena_printf(j->arena, "model-%05d-of-%05d.safetensors", shard + 1, j->shards);
}

static sail_code plan(struct job *j)
{
    uint64_t most = j->e->shard_bytes ? j->e->shard_bytes : usual_shard, used = 0;
    sail__param *params;
    SAIL_TRY(sail__model_params(j->arena, j->e->config, &params, &j->n, j->err));
    j->params = params;
    j->entries = sail__arena_array(j->arena, j->n, sizeof *j->entries);
    j->shard = sail__arena_array(j->arena, j->n, sizeof *j->shard);
    if (!j->entries || !j->shard)
        return no_memory(j->dir, j->err);
    for (size_t i = 0; i < j->n; i++) {
        const sail__param *p = &params[i];
        uint64_t bytes = sail_dtype_bytes(j->e->dtype, (uint64_t)(p->rows * p->cols));
        if (i && used + bytes > most)
            j->shards++, used = 0;
        used += bytes;
        j->bytes += bytes;
        j->shard[i] = j->shards;
        j->entries[i] = (sail__st_entry){.name = p->name,
                                         .dtype = j->e->dtype,
                                         .rank = p->vector ? 1 : 2,
                                         .shape = {p->vector ? p->cols : p->rows, p->cols}};
    }
    j->shards++;
    return SAIL_OK;
}

/* What the family's files keep in another order: row by row, a vector entry by entry. */
static sail_code write_reordered(const struct job *j, sail__st_writer *w, const sail__param *p, float *values, void *bytes)
{
    const size_t each = sail_dtype_block_bytes(j->e->dtype), cols = (size_t)p->cols;
    float *all = p->vector ? sail__malloc(cols * sizeof *all) : NULL;
    if (p->vector && !all)
        return no_memory(j->dir, j->err);
    sail_code code = p->vector ? j->e->rows(j->e->user, p, 0, 1, all, j->err) : SAIL_OK;
    for (int64_t at = 0; at < (p->vector ? p->cols : p->rows) && code == SAIL_OK; at++) {
        const int64_t i = sail__param_row_of_file(j->e->config, p->role, at);
        if (!p->vector)
            code = j->e->rows(j->e->user, p, i, 1, values, j->err);
        if (code == SAIL_OK)
            code = sail_from_f32(j->e->dtype, p->vector ? all + i : values, bytes, p->vector ? 1 : cols, j->err);
        if (code == SAIL_OK)
            code = sail__st_write(w, bytes, (p->vector ? 1 : cols) * each, j->err);
    }
    sail__free(all);
    return code;
}

static sail_code write_param(const struct job *j, sail__st_writer *w, const sail__param *p, float *values, void *bytes)
{
    int64_t step = CHUNK / p->cols > 0 ? CHUNK / p->cols : 1;
    if (sail__param_reordered(j->e->config, p->role))
        return write_reordered(j, w, p, values, bytes);
    for (int64_t row = 0; row < p->rows; row += step) {
        int64_t count = p->rows - row < step ? p->rows - row : step;
        size_t n = (size_t)(count * p->cols);
        SAIL_TRY(j->e->rows(j->e->user, p, row, count, values, j->err));
        SAIL_TRY(sail_from_f32(j->e->dtype, values, bytes, n, j->err));
        SAIL_TRY(sail__st_write(w, bytes, n * sail_dtype_block_bytes(j->e->dtype), j->err));
    }
    return SAIL_OK;
}

static sail_code write_shard(const struct job *j, int shard, float *values, void *bytes)
{
    size_t first = 0, end;
    while (j->shard[first] != shard)
        first++;
    for (end = first; end < j->n && j->shard[end] == shard;)
        end++;
    const char *name = shard_name(j, shard), *path = name ? sail__path_join(j->arena, j->dir, name) : NULL;
    if (!path)
        return no_memory(j->dir, j->err);
    sail__st_writer *w;
    SAIL_TRY(sail__st_begin(path, j->entries + first, end - first, NULL, &w, j->err));
    for (size_t i = first; i < end; i++) {
        sail_code code = write_param(j, w, &j->params[i], values, bytes);
        if (code != SAIL_OK) {
            sail__st_abort(w);
            return code;
        }
    }
    return sail__st_commit(w, j->err);
}

static sail_code write_index(const struct job *j)
{
    if (j->shards == 1)
        return take_away(j->dir, "model.safetensors.index.json", j->arena, j->err);
    SAIL_TRY(take_away(j->dir, "model.safetensors", j->arena, j->err));
    const char *path = sail__path_join(j->arena, j->dir, "model.safetensors.index.json");
    sail_buf b = {0};
    sail__buf_printf(&b, "{\"metadata\": {\"total_size\": %llu}, \"weight_map\": {\n", (unsigned long long)j->bytes);
    for (size_t i = 0; i < j->n; i++) {
        const char *name = shard_name(j, j->shard[i]);
        sail__json_quote(&b, j->params[i].name, strlen(j->params[i].name));
        sail__buf_printf(&b, ": \"%s\"%s\n", name ? name : "", i + 1 < j->n ? "," : "");
        b.oom |= !name;
    }
    sail__buf_str(&b, "}}\n");
    sail_code code = b.oom || !path ? no_memory(j->dir, j->err) : sail__file_write(path, b.data, b.len, j->err);
    sail__buf_free(&b);
    return code;
}

static sail_code write_weights(struct job *j)
{
    SAIL_TRY(plan(j));
    int64_t widest = CHUNK;
    for (size_t i = 0; i < j->n; i++)
        widest = j->params[i].cols > widest ? j->params[i].cols : widest;
    float *values = sail__malloc((size_t)widest * sizeof *values);
    void *bytes = sail__malloc((size_t)widest * sizeof(float));
    sail_code code = values && bytes ? SAIL_OK : no_memory(j->dir, j->err);
    for (int s = 0; s < j->shards && code == SAIL_OK; s++)
        code = write_shard(j, s, values, bytes);
    sail__free(values);
    sail__free(bytes);
    return code == SAIL_OK ? write_index(j) : code;
}

/* ---- the files beside them ---- */

static sail_code write_json(const struct job *j, const char *name, const sail_node *n)
{
    const char *path = sail__path_join(j->arena, j->dir, name);
    sail_buf b = {0};
    sail__node_to_json(&b, n);
    sail__buf_str(&b, "\n");
    sail_code code = b.oom || !path ? no_memory(j->dir, j->err) : sail__file_write(path, b.data, b.len, j->err);
    sail__buf_free(&b);
    return code;
}

static bool same_dir(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static sail_code copy_files(const struct job *j)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "generation_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *from = sail__path_join(j->arena, j->e->files_from, names[i]);
        const char *to = sail__path_join(j->arena, j->dir, names[i]);
        if (!from || !to)
            return no_memory(j->dir, j->err);
        if (!sail__file_exists(from))
            continue;
        char *data;
        size_t size;
        SAIL_TRY(sail__file_read(from, LARGEST_COPY, &data, &size, j->err));
        sail_code code = sail__file_write(to, data, size, j->err);
        sail__free(data);
        SAIL_TRY(code);
    }
    return SAIL_OK;
}

static sail_code write_config(const struct job *j)
{
    sail_node *root;
    const char *dtype = j->e->dtype == SAIL_BF16 ? "bfloat16" : "float32";
    if (j->e->config_node) {
        root = sail__node_copy(j->arena, j->e->config_node);
        if (root && j->e->new_head)
            SAIL_TRY(sail__config_score_node(j->arena, j->e->config, root, j->err));
    } else {
        SAIL_TRY(sail__config_to_node(j->arena, j->e->config, &root, j->err));
        sail_node *generation;
        const char *path = sail__path_join(j->arena, j->dir, "generation_config.json");
        SAIL_TRY(sail__config_generation_node(j->arena, j->e->config, &generation, j->err));
        if (path && !(j->e->files_from && sail__file_exists(path)))
            SAIL_TRY(write_json(j, "generation_config.json", generation));
    }
    if (!root)
        return no_memory(j->dir, j->err);
    bool now = sail__node_get(root, "dtype"), before = sail__node_get(root, "torch_dtype");
    for (int old = 0; old < 2; old++)
        if ((old ? before : now) || !(now || before))
            if (!sail__node_set(j->arena, root, old ? "torch_dtype" : "dtype",
                                sail__node_string(j->arena, dtype, "generated")))
                return no_memory(j->dir, j->err);
    return write_json(j, "config.json", root);
}

sail_code sail__export_tokenizer(const char *dir, const sail__gguf *g, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__vocabulary v;
    sail_buf json = {0}, config = {0};
    const char *json_path = a ? sail__path_join(a, dir, "tokenizer.json") : NULL;
    const char *config_path = a ? sail__path_join(a, dir, "tokenizer_config.json") : NULL;
    sail_code code = json_path && config_path ? sail__vocabulary_from_gguf(g, a, &v, err) : no_memory(dir, err);
    if (code == SAIL_OK)
        code = sail__vocabulary_write(&v, &json, &config, err);
    if (code == SAIL_OK)
        code = sail__file_write(json_path, json.data, json.len, err);
    if (code == SAIL_OK)
        code = sail__file_write(config_path, config.data, config.len, err);
    sail__buf_free(&json);
    sail__buf_free(&config);
    sail__arena_free(a);
    return code;
}

void sail__export_from(sail__export *e, const sail__weights *base)
{
    e->config = sail__weights_config(base);
    e->config_node = sail__weights_config_node(base);
    e->gguf = sail__weights_gguf(base);
    e->files_from = e->gguf ? NULL : sail__weights_path(base);
}

static sail_code run(struct job *j)
{
    if (j->e->files_from && same_dir(j->e->files_from, j->dir))
        return sail_fail(j->err, SAIL_E_ARG,
                         "%s: is the directory of the model that this one is made from; give another", j->dir);
    SAIL_TRY(take_away(j->dir, "config.json", j->arena, j->err));
    SAIL_TRY(write_weights(j));
    if (j->e->files_from)
        SAIL_TRY(copy_files(j));
    if (j->e->gguf && sail__gguf_get(j->e->gguf, "tokenizer.ggml.tokens"))
        SAIL_TRY(sail__export_tokenizer(j->dir, j->e->gguf, j->err));
    return write_config(j);
}

sail_code sail__export_model(const char *dir, const sail__export *e, sail_err *err)
{
    if (e->dtype != SAIL_F32 && e->dtype != SAIL_BF16)
        return sail_fail(err, SAIL_E_DTYPE, "%s: a model is written as f32 or bf16, not %s", dir,
                         sail_dtype_name(e->dtype));
    SAIL_TRY(sail__make_dirs(dir, err));
    struct job j = {.arena = sail__arena_new(), .dir = dir, .e = e, .err = err};
    if (!j.arena)
        return no_memory(dir, err);
    sail_code code = run(&j);
    sail__arena_free(j.arena);
    return code;
}
