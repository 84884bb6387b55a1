/* hub_pull.c - see hub_pull.h: which files are wanted, in which order, and what is visible when. */
#include "hub_pull.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../base/node.h"
#include "hub_blob.h"
#include "hub_remote.h"

enum { MOST_INDEX = 64 << 20 };
static const char INDEX[] = "model.safetensors.index.json", WEIGHTS[] = "model.safetensors", CONFIG[] = "config.json";

typedef struct job {
    sail_ctx *ctx;
    sail_arena *arena;
    const sail__pull *p;
    sail__hub_remote *remote;
    sail__hub_store store;
    const char *what, *commit; /* what: as the user named it */
    const sail__hub_file *all;
    size_t n_all;
    const sail__hub_file **wanted;
    size_t n_wanted;
} job;

/* ---- which files ---- */

static const sail__hub_file *named(const job *j, const char *path)
{
    for (size_t i = 0; i < j->n_all; i++)
        if (strcmp(j->all[i].path, path) == 0)
            return &j->all[i];
    return NULL;
}

static void want(job *j, const sail__hub_file *f)
{
    for (size_t i = 0; f && i < j->n_wanted; i++)
        if (j->wanted[i] == f)
            return;
    if (f)
        j->wanted[j->n_wanted++] = f;
}

/* Weights in forms that run code when they are read, or that sail cannot read: never fetched. */
static bool unwanted(const char *path)
{
    static const char *const ends[] = {".bin",  ".pt",        ".pth", ".pkl",     ".pickle", ".ckpt",
                                       ".onnx", ".onnx_data", ".h5",  ".msgpack", ".tflite", ".ot"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sail__ends_with(path, ends[i]))
            return true;
    return false;
}

/* "a (1.2 GB), b (3.4 GB)" of the files that end so, for messages; "" for none. */
static const char *list_of(const job *j, const char *end, const char *matching)
{
    enum { SHOWN = 12 };
    sail_buf b = {0};
    size_t n = 0;
    for (size_t i = 0; i < j->n_all; i++) {
        const sail__hub_file *f = &j->all[i];
        char size[16];
        if (!sail__ends_with(f->path, end) || (matching && !sail__hub_matches(matching, f->path)))
            continue;
        if (n++ < SHOWN)
            sail__buf_printf(&b, "%s%s (%s)", n > 1 ? ", " : "", f->path, sail__size_text(f->size, size));
    }
    if (n > SHOWN)
        sail__buf_printf(&b, " and %zu more", n - SHOWN);
    const char *text = b.data && !b.oom ? sail__arena_strdup(j->arena, b.data) : NULL;
    sail__buf_free(&b);
    return text ? text : "";
}

static sail_code want_included(job *j, sail_err *err)
{
    const char *left_out = NULL;
    for (size_t i = 0; i < j->n_all; i++)
        for (size_t k = 0; k < j->p->n_include; k++)
            if (sail__hub_matches(j->p->include[k], j->all[i].path)) {
                if (unwanted(j->all[i].path))
                    left_out = j->all[i].path;
                else
                    want(j, &j->all[i]);
            }
    if (j->n_wanted == 0 && left_out)
        return sail_fail(err, SAIL_E_USAGE,
                         "%s: %s is never fetched: sail reads safetensors and GGUF alone (a Python pickle can run code "
                         "when it is read)",
                         j->what, left_out);
    if (j->n_wanted == 0)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s has no file like `%s`; it has %s", j->what, j->p->include[0],
                         list_of(j, "", NULL));
    if (left_out)
        sail_log(j->ctx, SAIL_LOG_WARN, "%s and the like are left out: sail reads safetensors and GGUF alone",
                 left_out);
    return SAIL_OK;
}

static sail_code want_gguf(job *j, sail_err *err)
{
    const char *pattern = j->p->gguf;
    for (size_t i = 0; i < j->n_all; i++) {
        const sail__hub_file *f = &j->all[i];
        if (!sail__ends_with(f->path, ".gguf"))
            continue;
        if (strcmp(f->path, pattern) == 0) { /* a whole name, which may be part of others */
            j->n_wanted = 0;
            want(j, f);
            return SAIL_OK;
        }
        if (sail__hub_matches(pattern, f->path))
            want(j, f);
    }
    if (j->n_wanted == 0) {
        const char *there = list_of(j, ".gguf", NULL);
        return *there ? sail_fail(err, SAIL_E_NOTFOUND, "%s has no GGUF file like `%s`; it has %s", j->what, pattern,
                                  there)
                      : sail_fail(err, SAIL_E_NOTFOUND, "%s has no GGUF files", j->what);
    }
    if (j->n_wanted > 1)
        return sail_fail(err, SAIL_E_USAGE, "%s: `%s` may be %zu files: %s; say more of the name", j->what, pattern,
                         j->n_wanted, list_of(j, ".gguf", pattern));
    return SAIL_OK;
}

/* All that is wanted of a model but its weights. */
static void want_small(job *j)
{
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer.model",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "adapter_config.json",
                                        "reward.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        want(j, named(j, names[i]));
}

/* The shards of the index, which is there by now. */
static sail_code want_shards(job *j, sail_err *err)
{
    sail_node *root;
    const char *path = sail__hub_blob_path(&j->store, named(j, INDEX)->hash);
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__json_read(j->arena, path, MOST_INDEX, &root, err));
    const sail_node *map = sail__node_get(root, "weight_map");
    if (!map || map->kind != SAIL_NODE_MAP || map->list.n == 0)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s has no weight_map: it does not say which files hold the weights",
                         j->what, INDEX);
    for (size_t i = 0; i < map->list.n; i++) {
        const sail_node *name = map->list.items[i];
        const sail__hub_file *f = name->kind == SAIL_NODE_STRING ? named(j, name->string.data) : NULL;
        if (!f)
            return sail_fail(err, SAIL_E_FORMAT, "%s: %s names %s for %s, which is not among its files", j->what, INDEX,
                             name->kind == SAIL_NODE_STRING ? name->string.data : "no file", map->list.keys[i]);
        want(j, f);
    }
    return SAIL_OK;
}

static sail_code want_weights(job *j, sail_err *err)
{
    static const char adapter[] = "adapter_model.safetensors";
    if (named(j, WEIGHTS) || named(j, adapter)) {
        want(j, named(j, WEIGHTS));
        want(j, named(j, adapter));
        return SAIL_OK;
    }
    if (named(j, INDEX))
        return want_shards(j, err);
    const char *gguf = list_of(j, ".gguf", NULL);
    if (*gguf)
        return sail_fail(err, SAIL_E_USAGE,
                         "%s has GGUF files: choose one with --gguf, such as `sail pull %s --gguf Q4_K_M`: %s", j->what,
                         j->what, gguf);
    for (size_t i = 0; i < j->n_all; i++)
        if (unwanted(j->all[i].path))
            return sail_fail(err, SAIL_E_NOTFOUND,
                             "%s has no safetensors, only %s and the like, which can run code when it is read and is "
                             "never fetched; many such models have "
                             "safetensors in the revision refs/pr/1: see its page",
                             j->what, j->all[i].path);
    return sail_fail(err, SAIL_E_NOTFOUND, "%s has no model.safetensors; it has %s; --include PATTERN fetches them",
                     j->what, list_of(j, "", NULL));
}

/* ---- visible at last ---- */

/* snapshots/COMMIT/PATH -> the blob, in one step; one that is there already stays. */
static sail_code link_one(job *j, const char *snapshot, const sail__hub_file *f, sail_err *err)
{
    sail_arena *a = j->arena;
    const char *at = sail__path_join(a, snapshot, f->path), *dir = at ? sail__path_dir(a, at) : NULL;
    const char *temporary = at ? sail__arena_printf(a, "%s/.link-%ld-%s", j->store.dir, (long)getpid(), f->hash) : NULL;
    sail_buf to = {0};
    struct stat st;
    sail__buf_str(&to, "../../");
    for (const char *c = f->path; *c; c++)
        if (*c == '/')
            sail__buf_str(&to, "../");
    sail__buf_printf(&to, "blobs/%s", f->hash);
    sail_code code =
        !dir || !temporary || to.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__make_dirs(dir, err);
    if (code == SAIL_OK && stat(at, &st) != 0) {
        if (symlink(to.data, temporary) != 0 || rename(temporary, at) != 0) {
            code = sail_fail(err, SAIL_E_IO, "%s: cannot make the link to its blob: %s", at, strerror(errno));
            unlink(temporary);
        } else {
            code = sail__sync_dir(dir, err);
        }
    }
    sail__buf_free(&to);
    return code;
}

static sail_code show(job *j, sail__pulled *out, sail_err *err)
{
    sail_arena *a = j->arena;
    const char *snapshot = sail__path_join(a, sail__path_join(a, j->store.dir, "snapshots"), j->commit);
    const char *ref = sail__path_join(a, sail__path_join(a, j->store.dir, "refs"), j->p->name.revision);
    if (!snapshot || !ref)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int last = 0; last < 2; last++) /* a model is one where config.json is: it comes when the rest is there */
        for (size_t i = 0; i < j->n_wanted; i++)
            if ((strcmp(j->wanted[i]->path, CONFIG) == 0) == last)
                SAIL_TRY(link_one(j, snapshot, j->wanted[i], err));
    out->commit = j->commit;
    out->path = j->p->gguf ? sail__path_join(a, snapshot, j->wanted[0]->path) : snapshot;
    if (!out->path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (strcmp(j->p->name.revision, j->commit) == 0)
        return SAIL_OK;
    SAIL_TRY(sail__make_dirs(sail__path_dir(a, ref), err));
    return sail__file_write(ref, j->commit, strlen(j->commit), err);
}

/* ---- all of it ---- */

/* Bytes of wanted[first, …) that are not there. */
static uint64_t to_come(const job *j, size_t first)
{
    uint64_t sum = 0;
    for (size_t i = first; i < j->n_wanted; i++) {
        uint64_t there = sail__hub_blob_bytes(&j->store, j->wanted[i]);
        sum += there < j->wanted[i]->size ? j->wanted[i]->size - there : 0;
    }
    return sum;
}

static sail_code room_for(const job *j, uint64_t bytes, sail_err *err)
{
    struct statvfs s;
    char need[16], have[16];
    if (statvfs(j->store.dir, &s) != 0)
        return SAIL_OK; /* writing will tell */
    uint64_t free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
    if (bytes <= free_bytes)
        return SAIL_OK;
    return sail_fail(err, SAIL_E_IO,
                     "%s: %s are to come, and %s are free in %s: make room, or set HF_HUB_CACHE to a larger disk",
                     j->what, sail__size_text(bytes, need), sail__size_text(free_bytes, have), j->store.dir);
}

static sail_code fetch(job *j, size_t first, sail__pulled *out, sail_err *err)
{
    uint64_t bytes = to_come(j, first);
    SAIL_TRY(sail__make_dirs(j->store.dir, err));
    SAIL_TRY(room_for(j, bytes, err));
    j->store.done = 0;
    j->store.total = bytes;
    for (size_t i = first; i < j->n_wanted; i++) {
        bool fetched;
        SAIL_TRY(sail__hub_blob_fetch(&j->store, j->remote, &j->p->name, j->commit, j->wanted[i], &fetched, err));
        out->files++;
        out->bytes += j->wanted[i]->size;
        out->fetched += fetched;
    }
    out->fetched_bytes += j->store.done;
    return SAIL_OK;
}

static sail_code pull(job *j, sail__pulled *out, sail_err *err)
{
    sail__hub_file *all;
    const bool model = !j->p->gguf && !j->p->n_include;
    if (model && j->p->name.dataset)
        return sail_fail(err, SAIL_E_USAGE, "%s: which files of the data set? --include PATTERN, such as `*.jsonl.gz`",
                         j->what);
    SAIL_TRY(sail__hub_remote_list(j->remote, &j->p->name, &j->commit, &all, &j->n_all, err));
    j->all = all;
    j->wanted = sail__arena_array(j->arena, j->n_all + 1, sizeof *j->wanted);
    if (!j->wanted)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (j->p->gguf)
        SAIL_TRY(want_gguf(j, err));
    else if (j->p->n_include)
        SAIL_TRY(want_included(j, err));
    if (!model)
        SAIL_TRY(fetch(j, 0, out, err));
    if (model && named(j, INDEX) && !named(j, WEIGHTS)) { /* it says which weights */
        want(j, named(j, INDEX));
        SAIL_TRY(fetch(j, 0, out, err));
    }
    if (model) {
        const size_t first = j->n_wanted;
        SAIL_TRY(want_weights(j, err));
        want_small(j);
        SAIL_TRY(fetch(j, first, out, err));
    }
    return show(j, out, err);
}

sail_code sail__hub_pull(sail_ctx *ctx, sail_arena *a, const sail__pull *p, sail__pulled *out, sail_err *err)
{
    job j = {.ctx = ctx, .arena = a, .p = p, .what = sail__hub_text(a, &p->name)};
    *out = (sail__pulled){0};
    if (!j.what)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__hub_store_open(ctx, a, &p->name, &j.store, err));
    j.store.verify = p->verify;
    SAIL_TRY(sail__hub_remote_open(ctx, a, p->patience, p->tries, &j.remote, err));
    sail_code code = pull(&j, out, err);
    sail__hub_remote_close(j.remote);
    return code;
}
