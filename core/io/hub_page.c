/* hub_page.c - see hub_page.h. */
#include "hub_page.h"

#include <string.h>

sail_code sail__hub_strange(const char *endpoint, const char *what, sail_err *err)
{
    return sail_fail(err, SAIL_E_IO,
                     "%s does not answer as a hub does: %s; is HF_ENDPOINT right, or does a proxy or a login page "
                     "answer in its place?",
                     endpoint, what);
}

static const char *text_of(const sail_node *n, const char *key)
{
    const sail_node *v = sail__node_get(n, key);
    return v && v->kind == SAIL_NODE_STRING && strlen(v->string.data) == v->string.len ? v->string.data : NULL;
}

/* A path that stays below the directory it is put into. */
static bool stays_inside(const char *path)
{
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || n > 255 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)part[i] < ' ' || part[i] == 127 || part[i] == '\\')
                return false;
        part += n;
        if (!*part)
            return true;
    }
}

sail_code sail__hub_page_commit(const char *endpoint, const sail_node *revision, const char **commit, sail_err *err)
{
    *commit = text_of(revision, "sha");
    return *commit && sail__hub_is_commit(*commit) ? SAIL_OK : sail__hub_strange(endpoint, "it does not say which commit the revision is", err);
}

static sail_code file_of(const char *endpoint, const sail_node *n, sail__hub_file *out, sail_err *err)
{
    const sail_node *lfs = sail__node_get(n, "lfs"), *size;
    bool large = lfs && lfs->kind == SAIL_NODE_MAP;
    *out = (sail__hub_file){
        .path = text_of(n, "path"), .kind = large ? SAIL_SHA256 : SAIL_SHA1, .hash = text_of(large ? lfs : n, "oid")};
    size = sail__node_get(large ? lfs : n, "size");
    if (out->hash && strncmp(out->hash, "sha256:", 7) == 0)
        out->hash += 7;
    size_t digits = large ? 64 : 40;
    if (!out->path || !out->hash || !size || size->kind != SAIL_NODE_INT || size->integer < 0)
        return sail__hub_strange(endpoint, "a file in its list has no path, oid or size", err);
    if (!stays_inside(out->path))
        return sail_fail(err, SAIL_E_IO,
                         "%s names a file `%s`, which would not lie inside the model's directory: refused", endpoint,
                         out->path);
    if (strspn(out->hash, "0123456789abcdef") != digits || out->hash[digits])
        return sail_fail(err, SAIL_E_IO, "%s gives `%s` as the hash of %s, which is none: refused", endpoint,
                         out->hash, out->path);
    out->size = (uint64_t)size->integer;
    return SAIL_OK;
}

sail_code sail__hub_page(const char *endpoint, const sail_node *list, sail__hub_file **files, size_t *n, size_t *cap, sail_err *err)
{
    if (list->kind != SAIL_NODE_LIST)
        return sail__hub_strange(endpoint, "its list of files is none", err);
    for (size_t i = 0; i < list->list.n; i++) {
        const char *type = text_of(list->list.items[i], "type");
        if (!type || strcmp(type, "file") != 0)
            continue;
        SAIL_TRY(sail__grow(files, cap, *n + 1, sizeof **files, err));
        SAIL_TRY(file_of(endpoint, list->list.items[i], &(*files)[*n], err));
        ++*n;
    }
    return SAIL_OK;
}

const char *sail__hub_next_page(sail_arena *a, const char *link)
{
    const char *end = strchr(link, '>'), *begin = strchr(link, '<');
    return begin && end && end > begin && strstr(end, "rel=\"next\"")
               ? sail__arena_strndup(a, begin + 1, (size_t)(end - begin - 1))
               : NULL;
}
