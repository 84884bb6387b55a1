/* load.c - opens a plugin file and takes a copy of its description that is safe to read whatever the plugin was built
 * against: fields and functions that it does not know are zero. */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "load.h"

enum { MOST_ROWS = 1024, MOST_OPTIONS = 1 << 16 };

static const char *const kind_names[] = {
#define KIND(NAME, name, doc) name,
    SAIL_KINDS(KIND)
#undef KIND
};

const char *sail__kind_name(sail_kind k)
{
    return (unsigned)k < SAIL_KIND_COUNT ? kind_names[k] : "unknown";
}

bool sail__kind_parse(const char *name, sail_kind *out)
{
    for (int k = 0; k < SAIL_KIND_COUNT; k++)
        if (sail__name_equal(name, kind_names[k])) {
            *out = (sail_kind)k;
            return true;
        }
    return false;
}

static const char *text_or(const char *s, const char *otherwise)
{
    return s && *s ? s : otherwise;
}

/* Copy a table whose rows are `stride` bytes apart into rows of ours, and check them. */
static sail_code copy_options(sail_arena *a, const sail_plugin *p, const char *path, const sail_opt **out, sail_err *err)
{
    static const size_t sizes[] = {sizeof(bool), sizeof(int64_t), sizeof(double), sizeof(char *), sizeof(int), sizeof(void *)};
    const char *rows = (const char *)p->opts;
    size_t stride = p->opt_stride, use = stride < sizeof(sail_opt) ? stride : sizeof(sail_opt), n = 0;
    *out = NULL;
    if (!rows)
        return SAIL_OK;
    if (stride < offsetof(sail_opt, def_str) || stride > 4096 || stride % _Alignof(sail_opt) != 0)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: says its option rows are %zu bytes, which no version of sail has", path, stride);
    if (p->opts_size == 0 || p->opts_size > MOST_OPTIONS)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: says its options take %u bytes, 1 to %d are possible", path, p->opts_size,
                         MOST_OPTIONS);
    const char *name;
    while (memcpy(&name, rows + n * stride, sizeof name), name)
        if (++n > MOST_ROWS)
            return sail_fail(err, SAIL_E_PLUGIN, "%s: its option table does not end (a row with name NULL is missing)", path);
    sail_opt *table = sail__arena_array(a, n + 1, sizeof *table);
    if (!table)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its options", path);
    for (size_t i = 0; i < n; i++) {
        sail_opt *o = &table[i];
        memcpy(o, rows + i * stride, use);
        if ((unsigned)o->type > SAIL_OPT_TYPE_NODE)
            return sail_fail(err, SAIL_E_PLUGIN, "%s: option %s has the unknown type %d", path, o->name, (int)o->type);
        if (o->offset > p->opts_size || sizes[o->type] > p->opts_size - o->offset)
            return sail_fail(err, SAIL_E_PLUGIN, "%s: option %s lies beyond the %u bytes of the options", path, o->name,
                             p->opts_size);
        if (o->type == SAIL_OPT_TYPE_CHOICE && (!o->choices || !o->choices[0]))
            return sail_fail(err, SAIL_E_PLUGIN, "%s: option %s is a choice among nothing", path, o->name);
        for (size_t k = 0; k < i; k++)
            if (sail__name_equal(table[k].name, o->name))
                return sail_fail(err, SAIL_E_PLUGIN, "%s: option %s is there twice", path, o->name);
    }
    *out = table;
    return SAIL_OK;
}

static sail_code copy_ops(sail_arena *a, const sail_plugin *p, const char *path, const void **out, sail_err *err)
{
    uint32_t size = 0;
    if (p->ops)
        memcpy(&size, p->ops, sizeof size);
    /* it begins with its size, and holds one function at least */
    if (!p->ops || size < sizeof(uint32_t) + sizeof(void *) || size > SAIL_OPS_ROOM)
        return sail_fail(err, SAIL_E_PLUGIN, p->ops ? "%s: its table of functions says it is %u bytes; it must begin with its "
                                                      ".size = sizeof"
                                                    : "%s: has no table of functions (%u bytes)", path, size);
    void *ops = sail__arena_alloc(a, SAIL_OPS_ROOM);
    if (!ops)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its functions", path);
    *out = memcpy(ops, p->ops, size);
    return SAIL_OK;
}

sail_code sail__plugin_copy(sail_arena *a, const sail_plugin *p, const char *path, sail_kind kind, const char *name,
                            sail_loaded *out, sail_err *err)
{
    sail_plugin copy = {0};
    if (!p)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: sail_plugin_query gave NULL, a description is wanted", path);
    if (p->size < offsetof(sail_plugin, caps))
        return sail_fail(err, SAIL_E_PLUGIN, "%s: its description says it is %u bytes; it must begin with .size = sizeof", path,
                         p->size);
    memcpy(&copy, p, p->size < sizeof copy ? p->size : sizeof copy);
    if (copy.abi_major != SAIL_ABI_MAJOR || copy.abi_minor > SAIL_ABI_MINOR)
        return sail_fail(err, SAIL_E_PLUGIN,
                         "%s: built for plugin interface %u.%u, this sail has %d.%d; build it again with the headers of this "
                         "sail",
                         path, copy.abi_major, copy.abi_minor, SAIL_ABI_MAJOR, SAIL_ABI_MINOR);
    if (copy.kind >= SAIL_KIND_COUNT)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: is of the unknown kind %u", path, copy.kind);
    if (kind != SAIL_KIND_COUNT && copy.kind != (uint32_t)kind)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: is of kind %s, but lies where kind %s is looked for", path,
                         sail__kind_name((sail_kind)copy.kind), sail__kind_name(kind));
    if (!copy.name || !*copy.name)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: has no name", path);
    if (name && !sail__name_equal(copy.name, name))
        return sail_fail(err, SAIL_E_PLUGIN, "%s: calls itself %s; the file must be named after it (%s.so)", path, copy.name,
                         copy.name);
    SAIL_TRY(copy_options(a, &copy, path, &copy.opts, err));
    copy.size = sizeof copy;
    copy.opt_stride = sizeof(sail_opt);
    if (!copy.opts)
        copy.opts_size = 0;
    SAIL_TRY(copy_ops(a, &copy, path, &copy.ops, err));
    copy.name = sail__arena_strdup(a, copy.name);
    copy.doc = sail__arena_strdup(a, text_or(copy.doc, ""));
    copy.source = sail__arena_strdup(a, text_or(copy.source, ""));
    *out = (sail_loaded){.plugin = copy, .path = sail__arena_strdup(a, path), .ops = copy.ops};
    if (!copy.name || !copy.doc || !copy.source || !out->path)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its description", path);
    return SAIL_OK;
}

sail_code sail__plugin_open(sail_arena *a, const char *path, sail_kind kind, const char *name, sail_loaded *out, sail_err *err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror(); /* the only place where the loader says that memory was lacking */
        return sail_fail(err, why && strstr(why, strerror(ENOMEM)) ? SAIL_E_NOMEM : SAIL_E_PLUGIN, "%s: cannot be loaded: %s", path, text_or(why, "unknown reason"));
    }
    void *symbol = dlsym(handle, "sail_plugin_query");
    if (!symbol)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: does not export sail_plugin_query; SAIL_PLUGIN(…) writes it", path);
    sail_plugin_query_fn *query;
    memcpy(&query, &symbol, sizeof query); /* ISO C has no cast from object to function pointers */
    return sail__plugin_copy(a, query(), path, kind, name, out, err);
}
