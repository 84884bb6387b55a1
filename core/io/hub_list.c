/* hub_list.c - see hub_list.h. A model is opened as it is for use, so that what is told of it is what use would say. */
#include "hub_list.h"

#include <string.h>
#include <sys/stat.h>

#include "../base/node.h"
#include "peft.h"
#include "weights.h"

typedef struct list {
    sail_arena *a;
    sail__hub_entry *items;
    size_t n, cap;
} list;

static sail_code add(list *l, const sail__hub_entry *e, sail_err *err)
{
    SAIL_TRY(sail__grow(&l->items, &l->cap, l->n + 1, sizeof *l->items, err));
    l->items[l->n++] = *e;
    return e->name && e->path ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static uint64_t file_size(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* ---- one thing ---- */

/* What is wrong, without the path that the entry has already. */
static void trouble(sail_arena *a, sail__hub_entry *e, const sail_err *err)
{
    const char *text = err->message;
    size_t n = strlen(e->path);
    if (strncmp(text, e->path, n) == 0)
        text += n + strspn(text + n, "/: ");
    e->problem = sail__arena_strdup(a, text);
}

static void look_at_model(sail_arena *a, sail__hub_entry *e)
{
    int64_t of_type[SAIL_DTYPE_COUNT] = {0}, most = 0;
    sail__weights *w = NULL;
    sail_err err;
    size_t n;
    if (sail__weights_open(NULL, e->path, &w, &err) != SAIL_OK) {
        trouble(a, e, &err);
        return;
    }
    e->family = sail__arena_strdup(a, sail__weights_config(w)->model_type);
    const sail__param *p = sail__weights_params(w, &n);
    for (size_t i = 0; i < n; i++) {
        sail_dtype t;
        int64_t count = p[i].vector ? p[i].cols : p[i].rows * p[i].cols;
        e->parameters += count;
        if (sail__weights_dtype(w, p[i].name, &t, &err) == SAIL_OK && (of_type[t] += count) > most) {
            most = of_type[t];
            e->type = sail_dtype_name(t);
        }
    }
    sail__weights_close(w);
}

static void look_at_adapter(sail_arena *a, sail__hub_entry *e)
{
    sail__peft p;
    sail_err err;
    e->family = "adapter";
    if (sail__peft_read(a, e->path, &p, &err) != SAIL_OK) {
        trouble(a, e, &err);
        return;
    }
    if (p.base)
        e->family = sail__arena_printf(a, "adapter of %s", p.base);
    for (size_t i = 0; i < p.n_modules; i++)
        e->parameters += p.modules[i].rank * (p.modules[i].in + p.modules[i].out);
    for (size_t i = 0; i < p.n_saved; i++)
        e->parameters += p.saved[i].rows * p.saved[i].cols;
}

/* What the files of a snapshot are; each GGUF file is a thing of its own. */
static sail_code look(list *l, const sail__hub_entry *repo, bool dataset, sail_err *err)
{
    sail_arena *a = l->a;
    const char **files;
    size_t n, others = 0, gone = 0;
    bool config = false, adapter = false, tokenizer = false, any = false;
    sail__hub_entry rest = *repo;
    SAIL_TRY(sail__hub_files(a, repo->path, &files, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *path = sail__path_join(a, repo->path, files[i]);
        if (!dataset && sail__ends_with(files[i], ".gguf")) {
            sail__hub_entry e = *repo;
            e.name = sail__arena_printf(a, "%s/%s", repo->name, files[i]);
            e.path = path;
            e.bytes = file_size(path);
            e.unfinished = 0;
            if (path)
                look_at_model(a, &e);
            SAIL_TRY(add(l, &e, err));
            any = true;
            continue;
        }
        others++;
        gone += path && !sail__file_exists(path);
        rest.bytes += file_size(path);
        config |= strcmp(files[i], "config.json") == 0;
        adapter |= strcmp(files[i], "adapter_config.json") == 0;
        tokenizer |= strcmp(files[i], "tokenizer.json") == 0;
    }
    if (others == 0 && any)
        return SAIL_OK;
    if (dataset)
        rest.family = "data";
    else if (config)
        look_at_model(a, &rest);
    else if (adapter)
        look_at_adapter(a, &rest);
    else if (tokenizer)
        rest.family = "tokenizer";
    else if (any)
        return SAIL_OK; /* what lies beside GGUF files */
    else
        rest.problem = "no config.json, adapter or GGUF file in it";
    if (gone && !rest.problem)
        rest.problem = sail__arena_printf(a, "%zu of %zu files lead nowhere: their blobs are gone", gone, others);
    return add(l, &rest, err);
}

/* ---- a repository ---- */

static const char *revisions_of(sail_arena *a, const char *dir, const char *commit)
{
    const char **refs, *refs_dir = sail__path_join(a, dir, "refs");
    size_t n;
    sail_err ignored;
    sail_buf b = {0};
    if (!refs_dir || sail__hub_files(a, refs_dir, &refs, &n, &ignored) != SAIL_OK)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        const char *is = sail__hub_commit(a, dir, refs[i]);
        if (is && strcmp(is, commit) == 0)
            sail__buf_printf(&b, "%s%s", b.len ? ", " : "", refs[i]);
    }
    const char *text = b.data && !b.oom ? sail__arena_strdup(a, b.data) : NULL;
    sail__buf_free(&b);
    return text ? text : "";
}

static uint64_t unfinished(sail_arena *a, const char *dir)
{
    char **blobs;
    size_t n;
    uint64_t bytes = 0;
    sail_err ignored;
    const char *in = sail__path_join(a, dir, "blobs");
    if (!in || sail__list_dir(a, in, &blobs, &n, &ignored) != SAIL_OK)
        return 0;
    for (size_t i = 0; i < n; i++)
        bytes += sail__ends_with(blobs[i], ".incomplete") ? file_size(sail__path_join(a, in, blobs[i])) : 0;
    return bytes;
}

static sail_code repository(list *l, const char *root, const char *folder, sail_err *err)
{
    sail_arena *a = l->a;
    const bool dataset = strncmp(folder, "datasets--", 10) == 0;
    const char *owner = dataset                               ? folder + 10
                        : strncmp(folder, "models--", 8) == 0 ? folder + 8
                                                              : NULL,
               *name = owner ? strstr(owner, "--") : NULL;
    if (!name)
        return SAIL_OK; /* something else, or a model without an owner, as they once were */
    sail_err ignored;
    char **commits = NULL;
    size_t n = 0;
    const char *dir = sail__path_join(a, root, folder), *snapshots = dir ? sail__path_join(a, dir, "snapshots") : NULL;
    sail__hub_entry e = {
        .name = sail__arena_printf(a, "%s%.*s/%s", dataset ? "datasets/" : "", (int)(name - owner), owner, name + 2),
        .path = dir,
        .revisions = ""};
    if (!snapshots || !e.name)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    e.unfinished = unfinished(a, dir);
    if (sail__list_dir(a, snapshots, &commits, &n, &ignored) != SAIL_OK)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        e.commit = commits[i];
        e.path = sail__path_join(a, snapshots, commits[i]);
        e.revisions = revisions_of(a, dir, commits[i]);
        if (!e.path)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        SAIL_TRY(look(l, &e, dataset, err));
        e.unfinished = 0; /* told once */
    }
    if (n > 0 || e.unfinished == 0)
        return SAIL_OK;
    e.problem = sail__arena_printf(a, "it was not fetched to its end; `sail pull %s` goes on", e.name);
    return add(l, &e, err);
}

sail_code sail__hub_list(sail_arena *a, sail__hub_entry **out, size_t *n, sail_err *err)
{
    list l = {.a = a};
    const char *root;
    char **folders = NULL;
    size_t n_folders = 0;
    *out = NULL, *n = 0;
    SAIL_TRY(sail__hub_root(a, &root, err));
    sail_code code = sail__is_dir(root) ? sail__list_dir(a, root, &folders, &n_folders, err) : SAIL_OK;
    for (size_t i = 0; i < n_folders && code == SAIL_OK; i++)
        code = repository(&l, root, folders[i], err);
    if (code == SAIL_OK) {
        *n = l.n;
        *out = sail__arena_array(a, l.n + 1, sizeof **out);
        if (!*out)
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
        else if (l.n)
            memcpy(*out, l.items, l.n * sizeof **out);
    }
    sail__free(l.items);
    return code;
}
