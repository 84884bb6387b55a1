/* registry.c - finding plugins by file name, and the plugins of a context. */
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../base/ctx.h"
#include "registry.h"

_Static_assert((int)SAIL_CTX_SLOTS <= (int)SAIL_CTX_MOST_SLOTS, "base/ctx.h must hold a slot for every floor");
_Static_assert(sizeof(sail_backend) <= SAIL_OPS_ROOM, "a host's table of functions must fit");

/* ---- what floors hang off a context ---- */

void *sail__ctx_get(sail_ctx *ctx, int slot)
{
    return slot >= 0 && slot < SAIL_CTX_MOST_SLOTS ? ctx->slots[slot].p : NULL;
}

void sail__ctx_set(sail_ctx *ctx, int slot, void *p, void (*destroy)(void *p))
{
    if (slot < 0 || slot >= SAIL_CTX_MOST_SLOTS)
        return;
    void *old = ctx->slots[slot].p;
    if (old && old != p && ctx->slots[slot].destroy)
        ctx->slots[slot].destroy(old);
    ctx->slots[slot].p = p;
    ctx->slots[slot].destroy = destroy;
}

/* ---- the registry ---- */

struct known {
    struct known *next;
    sail_loaded loaded;
};

struct added {
    struct added *next;
    const char *dir;
};

struct registry {
    sail_arena *arena;
    struct known *known;
    struct added *added; /* in the order they were added */
    const char *automatic; /* the backend that `auto` stands for, once it was asked for */
};

static void registry_free(void *p)
{
    struct registry *r = p;
    sail__arena_free(r->arena);
    sail__free(r);
}

static struct registry *registry(sail_ctx *ctx)
{
    struct registry *r = sail__ctx_get(ctx, SAIL_CTX_PLUGINS);
    if (r)
        return r;
    r = sail__calloc(1, sizeof *r);
    if (!r)
        return NULL;
    if (!(r->arena = sail__arena_new())) {
        sail__free(r);
        return NULL;
    }
    sail__ctx_set(ctx, SAIL_CTX_PLUGINS, r, registry_free);
    return r;
}

static struct known *find_known(const struct registry *r, sail_kind kind, const char *name)
{
    for (struct known *k = r->known; k; k = k->next)
        if (k->loaded.plugin.kind == (uint32_t)kind && sail__name_equal(k->loaded.plugin.name, name))
            return k;
    return NULL;
}

static sail_code no_memory(sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "no memory for the list of plugins");
}

sail_code sail__plugins_add_path(sail_ctx *ctx, const char *dir, sail_err *err)
{
    struct registry *r = registry(ctx);
    if (!sail__is_dir(dir))
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: no such directory to look for plugins in", dir);
    struct added *a = r ? sail__arena_alloc(r->arena, sizeof *a) : NULL;
    if (!a || !(a->dir = sail__arena_strdup(r->arena, dir)))
        return no_memory(err);
    struct added **at = &r->added;
    while (*at)
        at = &(*at)->next;
    *at = a;
    return SAIL_OK;
}

sail_code sail__plugins_add(sail_ctx *ctx, const sail_plugin *p, const char *path, sail_err *err)
{
    struct registry *r = registry(ctx);
    struct known *k = r ? sail__arena_alloc(r->arena, sizeof *k) : NULL;
    if (!k)
        return no_memory(err);
    SAIL_TRY(sail__plugin_copy(r->arena, p, path ? path : "(built in)", SAIL_KIND_COUNT, NULL, &k->loaded, err));
    sail_kind kind = (sail_kind)k->loaded.plugin.kind;
    struct known *other = find_known(r, kind, k->loaded.plugin.name);
    if (other)
        return sail_fail(err, SAIL_E_EXISTS, "%s: there is a %s named %s already, from %s", k->loaded.path, sail__kind_name(kind),
                         k->loaded.plugin.name, other->loaded.path);
    k->next = r->known;
    r->known = k;
    return SAIL_OK;
}

/* ---- where files are ---- */

struct place {
    const char *dir;
    bool own;      /* came with sail: not tried in a child first */
    bool backends; /* the build tree's backends: NAME/NAME.so, all of kind backend */
};

struct file {
    sail_kind kind;
    const char *name, *path;
    bool own;
};

struct search {
    sail_arena *arena;
    struct place *places;
    size_t n_places, cap_places;
    struct file *files;
    size_t n_files, cap_files;
    sail_err *err;
};

static void search_free(struct search *s)
{
    sail__free(s->places);
    sail__free(s->files);
}

static sail_code add_place(struct search *s, const char *dir, bool own, bool backends)
{
    if (!dir)
        return no_memory(s->err);
    SAIL_TRY(sail__grow(&s->places, &s->cap_places, s->n_places + 1, sizeof *s->places, s->err));
    s->places[s->n_places++] = (struct place){dir, own, backends};
    return SAIL_OK;
}

/* The build tree's or the installed directory, found from where this library lies. */
static sail_code own_places(struct search *s)
{
    static const char here = 0;
    Dl_info info;
    char real[PATH_MAX];
    if (!dladdr(&here, &info) || !info.dli_fname || !realpath(info.dli_fname, real))
        return SAIL_OK;
    char *dir = sail__path_dir(s->arena, real), *up = dir ? sail__path_dir(s->arena, dir) : NULL;
    if (!up)
        return no_memory(s->err);
    char *plugins = sail__arena_printf(s->arena, "%s/plugins", up);
    if (!plugins)
        return no_memory(s->err);
    if (strcmp(sail__path_base(dir), "core") == 0 && sail__is_dir(plugins)) {
        SAIL_TRY(add_place(s, plugins, true, false));
        return add_place(s, sail__arena_printf(s->arena, "%s/backends", up), true, true);
    }
    return add_place(s, sail__arena_printf(s->arena, "%s/sail/plugins", dir), true, false);
}

static sail_code find_places(struct search *s, const struct registry *r)
{
    for (const struct added *a = r->added; a; a = a->next)
        SAIL_TRY(add_place(s, a->dir, false, false));
    for (const char *p = getenv("SAIL_PLUGIN_PATH"); p && *p;) {
        size_t n = strcspn(p, ":");
        if (n)
            SAIL_TRY(add_place(s, sail__arena_strndup(s->arena, p, n), false, false));
        p += n + (p[n] == ':');
    }
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data && *data == '/')
        SAIL_TRY(add_place(s, sail__arena_printf(s->arena, "%s/sail/plugins", data), false, false));
    else if (home && *home)
        SAIL_TRY(add_place(s, sail__arena_printf(s->arena, "%s/.local/share/sail/plugins", home), false, false));
    return own_places(s);
}

static sail_code add_file(struct search *s, const struct place *p, sail_kind kind, const char *name, size_t length,
                          const char *path)
{
    SAIL_TRY(sail__grow(&s->files, &s->cap_files, s->n_files + 1, sizeof *s->files, s->err));
    struct file f = {kind, sail__arena_strndup(s->arena, name, length), path, p->own};
    if (!f.name || !path)
        return no_memory(s->err);
    s->files[s->n_files++] = f;
    return SAIL_OK;
}

/* Length of NAME in NAME.so, 0 when it is no such name. */
static size_t stem(const char *file)
{
    size_t n = strlen(file);
    return n > 3 && strcmp(file + n - 3, ".so") == 0 ? n - 3 : 0;
}

static sail_code find_in_place(struct search *s, const struct place *p)
{
    char **names, **inside;
    size_t n, m;
    /* a directory that is not there, or cannot be read, has no plugins */
    sail_code listed = sail__list_dir(s->arena, p->dir, &names, &n, NULL);
    if (listed != SAIL_OK)
        return listed == SAIL_E_NOMEM ? no_memory(s->err) : SAIL_OK;
    for (size_t i = 0; i < n; i++) {
        sail_kind kind;
        char *path = sail__path_join(s->arena, p->dir, names[i]);
        if (!path)
            return no_memory(s->err);
        if (p->backends) {
            path = sail__arena_printf(s->arena, "%s/%s.so", path, names[i]);
            if (path && sail__file_exists(path))
                SAIL_TRY(add_file(s, p, SAIL_KIND_BACKEND, names[i], strlen(names[i]), path));
            continue;
        }
        const char *dash = strchr(names[i], '-');
        if (dash && stem(names[i]) && sail__file_exists(path)) { /* KIND-NAME.so */
            char *head = sail__arena_strndup(s->arena, names[i], (size_t)(dash - names[i]));
            size_t length = stem(dash + 1);
            if (head && length && sail__kind_parse(head, &kind))
                SAIL_TRY(add_file(s, p, kind, dash + 1, length, path));
            continue;
        }
        if (!sail__kind_parse(names[i], &kind))
            continue;
        listed = sail__list_dir(s->arena, path, &inside, &m, NULL);
        if (listed == SAIL_E_NOMEM)
            return no_memory(s->err);
        for (size_t j = 0; j < m; j++)
            if (stem(inside[j]))
                SAIL_TRY(add_file(s, p, kind, inside[j], stem(inside[j]), sail__path_join(s->arena, path, inside[j])));
    }
    return SAIL_OK;
}

/* Every file that may be a plugin, in search order. */
static sail_code find_files(struct search *s, const struct registry *r)
{
    SAIL_TRY(find_places(s, r));
    for (size_t i = 0; i < s->n_places; i++)
        SAIL_TRY(find_in_place(s, &s->places[i]));
    return sail__arena_oom(s->arena) ? no_memory(s->err) : SAIL_OK; /* then some file may be missing */
}

/* ---- getting one ---- */

static sail_code not_found(const struct search *s, const struct registry *r, sail_kind kind, const char *name)
{
    const char *names[256];
    sail_buf where = {0};
    size_t n = 0;
    for (const struct known *k = r->known; k && n < 256; k = k->next)
        if (k->loaded.plugin.kind == (uint32_t)kind)
            names[n++] = k->loaded.plugin.name;
    for (size_t i = 0; i < s->n_files && n < 256; i++)
        if (s->files[i].kind == kind)
            names[n++] = s->files[i].name;
    const char *near = sail__nearest(name, names, n);
    for (size_t i = 0; i < s->n_places; i++)
        if (!s->places[i].backends || kind == SAIL_KIND_BACKEND)
            sail__buf_printf(&where, "%s%s", where.len ? ", " : "", s->places[i].dir);
    sail_code code = sail_fail(s->err, SAIL_E_NOTFOUND, "there is no %s \"%s\"%s%s%s (looked for %s/%s.so in %s)",
                               sail__kind_name(kind), name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "",
                               sail__kind_name(kind), name, where.data ? where.data : "no directory");
    sail__buf_free(&where);
    return code;
}

static sail_code load_file(struct registry *r, const struct file *f, const sail_loaded **out, sail_err *err)
{
    if (!f->own)
        SAIL_TRY(sail__plugin_probe(r->arena, f->path, f->kind, f->name, NULL, NULL, err));
    struct known *k = sail__arena_alloc(r->arena, sizeof *k);
    if (!k)
        return no_memory(err);
    SAIL_TRY(sail__plugin_open(r->arena, f->path, f->kind, f->name, &k->loaded, err));
    k->next = r->known;
    r->known = k;
    *out = &k->loaded;
    return SAIL_OK;
}

sail_code sail__plugin_get(sail_ctx *ctx, sail_kind kind, const char *name, const sail_loaded **out, sail_err *err)
{
    *out = NULL;
    struct registry *r = registry(ctx);
    if (!r)
        return no_memory(err);
    if (kind == SAIL_KIND_BACKEND && !strcmp(name, "auto")) {
        if (!r->automatic) {
            char reason[SAIL__AUTO_REASON];
            SAIL_TRY(sail__backend_auto(ctx, &r->automatic, reason, err));
            sail_log(ctx, SAIL_LOG_INFO, "backend auto: %s (%s)", r->automatic, reason);
        }
        name = r->automatic;
    }
    const struct known *k = find_known(r, kind, name);
    if (k) {
        *out = &k->loaded;
        return SAIL_OK;
    }
    struct search s = {.arena = sail__arena_new(), .err = err};
    sail_code code = s.arena ? find_files(&s, r) : no_memory(err);
    if (code == SAIL_OK) {
        size_t i = 0;
        while (i < s.n_files && (s.files[i].kind != kind || !sail__name_equal(s.files[i].name, name)))
            i++;
        code = i < s.n_files ? load_file(r, &s.files[i], out, err) : not_found(&s, r, kind, name);
    }
    search_free(&s);
    sail__arena_free(s.arena);
    return code;
}

/* ---- listing all ---- */

static int by_kind_and_name(const void *a, const void *b)
{
    const sail_found *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->problem != NULL) - (y->problem != NULL);
}

static sail_code describe_known(sail_arena *a, const struct registry *r, sail_found *list, size_t *n, sail_err *err)
{
    for (const struct known *k = r->known; k; k = k->next) {
        const sail_plugin *p = &k->loaded.plugin;
        sail_found f = {.kind = (sail_kind)p->kind, .name = sail__arena_strdup(a, p->name), .doc = sail__arena_strdup(a, p->doc),
                        .source = sail__arena_strdup(a, p->source), .path = sail__arena_strdup(a, k->loaded.path)};
        if (!f.name || !f.doc || !f.source || !f.path)
            return no_memory(err);
        list[(*n)++] = f;
    }
    return SAIL_OK;
}

static sail_code describe_files(struct search *s, sail_found *list, size_t *n)
{
    for (size_t i = 0; i < s->n_files; i++) {
        const struct file *f = &s->files[i];
        sail_found found = {.kind = f->kind, .name = f->name, .doc = "", .source = "", .path = f->path};
        const sail_found *first = NULL;
        for (size_t k = 0; k < *n && !first; k++)
            if (list[k].kind == f->kind && sail__name_equal(list[k].name, f->name))
                first = &list[k];
        if (first && strcmp(first->path, f->path) == 0)
            continue; /* loaded already */
        if (first) {
            found.problem = sail__arena_printf(s->arena, "%s: not used: %s comes first", f->path, first->path);
            if (!found.problem)
                return no_memory(s->err);
        } else {
            sail_err err = {0};
            sail_code code = sail__plugin_probe(s->arena, f->path, f->kind, f->name, &found.doc, &found.source, &err);
            if (code == SAIL_E_NOMEM)
                return no_memory(s->err);
            if (code != SAIL_OK && !(found.problem = sail__arena_strdup(s->arena, err.message)))
                return no_memory(s->err);
        }
        list[(*n)++] = found;
    }
    return SAIL_OK;
}

sail_code sail__plugins_list(sail_ctx *ctx, sail_arena *a, sail_found **out, size_t *n, sail_err *err)
{
    *out = NULL, *n = 0;
    struct registry *r = registry(ctx);
    if (!r)
        return no_memory(err);
    struct search s = {.arena = a, .err = err};
    sail_code code = find_files(&s, r);
    size_t most = s.n_files, used = 0;
    for (const struct known *k = r->known; k; k = k->next)
        most++;
    sail_found *list = code == SAIL_OK ? sail__arena_array(a, most, sizeof *list) : NULL;
    if (code == SAIL_OK && !list)
        code = no_memory(err);
    if (code == SAIL_OK)
        code = describe_known(a, r, list, &used, err);
    if (code == SAIL_OK)
        code = describe_files(&s, list, &used);
    search_free(&s);
    if (code != SAIL_OK)
        return code;
    if (used)
        qsort(list, used, sizeof *list, by_kind_and_name);
    *out = list;
    *n = used;
    return SAIL_OK;
}

/* ---- slots of recipes ---- */

static const char *article(sail_kind kind)
{
    return strchr("aeiou", *sail__kind_name(kind)) ? "an" : "a";
}

bool sail__slot_parse(sail_ctx *ctx, sail_arena *a, sail_kind kind, const sail_node *node, const char *path,
                      sail_schedule_fn schedule, void *user, sail_slot *out, sail_problems *problems)
{
    static const char *const ignore[] = {"kind", NULL};
    const sail_node *options = NULL, *name = node;
    *out = (sail_slot){.node = node};
    if (!node || node->kind == SAIL_NODE_NULL) {
        sail__problem(problems, node, path, "is missing: the name of %s %s is wanted", article(kind),
                      sail__kind_name(kind));
        return false;
    }
    if (node->kind == SAIL_NODE_MAP) {
        options = node;
        name = sail__node_get(node, "kind");
        if (!name) {
            sail__problem(problems, node, path, "has no kind: the name of %s %s is wanted, {kind: NAME, …}",
                          article(kind), sail__kind_name(kind));
            return false;
        }
    }
    if (name->kind != SAIL_NODE_STRING || !*name->string.data) {
        sail__problem(problems, name, path, "is %s, the name of %s %s is wanted: NAME or {kind: NAME, …}",
                      name->kind == SAIL_NODE_STRING ? "empty" : sail__node_kind_name(name->kind), article(kind),
                      sail__kind_name(kind));
        return false;
    }
    sail_err err = {0};
    if (sail__plugin_get(ctx, kind, name->string.data, &out->loaded, &err) != SAIL_OK) {
        sail__problem_of(problems, name, path, &err);
        return false;
    }
    const sail_plugin *p = &out->loaded->plugin;
    void *values = sail__arena_alloc(a, p->opts_size ? p->opts_size : 1);
    if (!values) {
        sail_fail(&err, SAIL_E_NOMEM, "no memory for its options");
        sail__problem_of(problems, node, path, &err);
        return false;
    }
    out->options = p->opts ? values : (void *)p->self;
    const size_t before = problems->n;
    const bool good = sail__opt_parse(p->opts, options, path, ignore, schedule, user, values, problems);
    /* of a bare name, what is missing has no node; problems outlive the name's */
    const char *where = options || good ? "" : sail__arena_strdup(problems->arena, sail__node_where(problems->arena, name));
    for (size_t i = before; where && *where && i < problems->n; i++)
        problems->items[i].where = where;
    return good;
}
