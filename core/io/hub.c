/* hub.c - see hub.h. */
#include "hub.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char SCHEME[] = "hf:", DATASETS[] = "datasets/", MAIN[] = "main";

/* ---- names ---- */

bool sail__hub_is_name(const char *text)
{
    return strncmp(text, SCHEME, sizeof SCHEME - 1) == 0;
}

static bool plain(const char *s, size_t n, bool slash)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
              s[i] == '.' || s[i] == '_' || s[i] == '-' || (slash && s[i] == '/')))
            return false;
    return n > 0 && s[0] != '.' && s[0] != '-' && s[0] != '/' && s[n - 1] != '/';
}

/* How much of what follows the '@' is the revision: up to the next '/', but that refs/pr/N and refs/convert/NAME hold
 * two. */
static size_t revision_length(const char *s)
{
    size_t n = strcspn(s, "/");
    if (strncmp(s, "refs/pr/", 8) == 0 || strncmp(s, "refs/convert/", 13) == 0) {
        n += 1 + strcspn(s + n + 1, "/");
        n += 1 + strcspn(s + n + 1, "/");
    }
    return n;
}

sail_code sail__hub_parse(sail_arena *a, const char *text, sail__hub_name *out, sail_err *err)
{
    const char *s = text + (sail__hub_is_name(text) ? sizeof SCHEME - 1 : 0);
    s += s > text && strncmp(s, "//", 2) == 0 ? 2 : 0; /* hf://, as fsspec writes it */
    *out = (sail__hub_name){.dataset = strncmp(s, DATASETS, sizeof DATASETS - 1) == 0};
    s += out->dataset ? sizeof DATASETS - 1 : 0;
    size_t owner = strcspn(s, "/@"), name = s[owner] == '/' ? strcspn(s + owner + 1, "/@") : 0, n = owner + 1 + name;
    if (!plain(s, owner, false) || !name || !plain(s + owner + 1, name, false))
        return sail_fail(
            err, SAIL_E_USAGE,
            "`%s` is no name of a model: [datasets/]OWNER/NAME[@REVISION][/FILE], such as HuggingFaceTB/SmolLM2-135M",
            text);
    out->repo = sail__arena_strndup(a, s, n);
    out->revision = MAIN;
    s += n;
    if (*s == '@') {
        n = revision_length(++s);
        if (!plain(s, n, true) || strstr(s, ".."))
            return sail_fail(err, SAIL_E_USAGE, "`%s`: what follows the @ is no revision: a branch, tag or commit",
                             text);
        out->revision = sail__arena_strndup(a, s, n);
        s += n;
    }
    if (*s == '/') {
        if (!s[1])
            return sail_fail(err, SAIL_E_USAGE, "`%s` ends in a slash: a file's name or a pattern must follow it",
                             text);
        out->file = sail__arena_strdup(a, s + 1);
    }
    return out->repo && out->revision && (*s != '/' || out->file) ? SAIL_OK
                                                                  : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

const char *sail__hub_text(sail_arena *a, const sail__hub_name *n)
{
    bool main = strcmp(n->revision, MAIN) == 0;
    return sail__arena_printf(a, "%s%s%s%s", n->dataset ? DATASETS : "", n->repo, main ? "" : "@",
                              main ? "" : n->revision);
}

/* ---- where the cache is ---- */

static const char *given(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

sail_code sail__hub_home(sail_arena *a, const char **out, sail_err *err)
{
    const char *home = given("HF_HOME"), *xdg = given("XDG_CACHE_HOME");
    if (!home && !xdg && !given("HOME"))
        return sail_fail(err, SAIL_E_NOTFOUND, "there is no Hugging Face cache to look in: set HF_HOME, or HOME");
    *out = sail__path_join(a, "", home ? home : sail__path_join(a, xdg ? xdg : "~/.cache", "huggingface"));
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

sail_code sail__hub_root(sail_arena *a, const char **out, sail_err *err)
{
    const char *cache = given("HF_HUB_CACHE"), *home = NULL;
    if (!cache)
        cache = given("HUGGINGFACE_HUB_CACHE"); /* its name in older releases, which still read it */
    if (!cache)
        SAIL_TRY(sail__hub_home(a, &home, err));
    const char *root = cache ? sail__path_join(a, "", cache) : sail__path_join(a, home, "hub");
    char here[4096];
    *out = root && *root != '/' && getcwd(here, sizeof here) ? sail__path_join(a, here, root)
                                                             : root; /* kept in recipes, which are read elsewhere */
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

const char *sail__hub_dir(sail_arena *a, const char *root, const sail__hub_name *n)
{
    int owner = (int)strcspn(n->repo, "/");
    return sail__path_join(
        a, root,
        sail__arena_printf(a, "%s--%.*s--%s", n->dataset ? "datasets" : "models", owner, n->repo, n->repo + owner + 1));
}

bool sail__hub_is_commit(const char *text)
{
    return strspn(text, "0123456789abcdef") == 40 && !text[40];
}

const char *sail__hub_commit(sail_arena *a, const char *dir, const char *revision)
{
    const char *snapshots = sail__path_join(a, dir, "snapshots"),
               *path = sail__path_join(a, sail__path_join(a, dir, "refs"), revision);
    const char *commit = NULL, *there = sail__path_join(a, snapshots, revision);
    char *data;
    size_t size;
    sail_err ignored;
    if (path && sail__file_exists(path) && sail__file_read(path, 4096, &data, &size, &ignored) == SAIL_OK) {
        data[strcspn(data, " \r\n")] = '\0';
        commit = sail__hub_is_commit(data) ? sail__arena_strdup(a, data) : NULL;
        sail__free(data);
        there = commit ? sail__path_join(a, snapshots, commit) : NULL;
    } else if (sail__hub_is_commit(revision)) {
        commit = revision;
    }
    return commit && there && sail__is_dir(there) ? commit : NULL;
}

/* ---- what is in a snapshot ---- */

typedef struct found {
    sail_arena *a;
    const char **items;
    size_t n, cap;
} found;

static sail_code gather(found *f, const char *root, const char *sub, int depth, sail_err *err)
{
    char **names;
    size_t n;
    SAIL_TRY(sail__list_dir(f->a, *sub ? sail__path_join(f->a, root, sub) : root, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *name = *sub ? sail__arena_printf(f->a, "%s/%s", sub, names[i]) : names[i];
        if (!name)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (depth < 8 && sail__is_dir(sail__path_join(f->a, root, name))) {
            SAIL_TRY(gather(f, root, name, depth + 1, err));
        } else {
            SAIL_TRY(sail__grow(&f->items, &f->cap, f->n + 1, sizeof *f->items, err));
            f->items[f->n++] = name;
        }
    }
    return SAIL_OK;
}

sail_code sail__hub_files(sail_arena *a, const char *snapshot, const char ***files, size_t *n, sail_err *err)
{
    found f = {.a = a};
    sail_code code = gather(&f, snapshot, "", 0, err);
    *files = sail__arena_array(a, f.n + 1, sizeof **files);
    *n = f.n;
    if (code == SAIL_OK && !*files)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK && f.n)
        memcpy(*files, f.items, f.n * sizeof **files);
    sail__free(f.items);
    return code;
}

bool sail__hub_matches(const char *wanted, const char *path)
{
    const char *base = sail__path_base(path);
    if (strpbrk(wanted, "*?"))
        return sail__glob_match(wanted, path) || sail__glob_match(wanted, base);
    return strcmp(wanted, path) == 0 || strcasestr(base, wanted) != NULL;
}

/* "a, b and 5 more", for messages. */
static const char *some(sail_arena *a, const char *const *names, size_t n)
{
    enum { SHOWN = 8 };
    sail_buf b = {0};
    for (size_t i = 0; i < n && i < SHOWN; i++)
        sail__buf_printf(&b, "%s%s", i ? ", " : "", names[i]);
    if (n > SHOWN)
        sail__buf_printf(&b, " and %zu more", n - SHOWN);
    const char *text = b.data && !b.oom ? sail__arena_strdup(a, b.data) : NULL;
    sail__buf_free(&b);
    return text ? text : "none";
}

/* ---- finding ---- */

/* What `sail pull` is given to fetch it, for a shell. */
static const char *to_pull(sail_arena *a, const sail__hub_name *n)
{
    const char *repo = sail__hub_text(a, n), *quote = n->file && strpbrk(n->file, "*?[ ") ? "'" : "";
    const char *whole = repo && n->file ? sail__arena_printf(a, "%s%s/%s%s", quote, repo, n->file, quote) : repo;
    return whole ? whole : n->repo;
}

static sail_code not_there(sail_arena *a, const char *text, const sail__hub_name *n, const char *dir, sail_err *err)
{
    char **commits;
    size_t count;
    sail_err ignored;
    const char *pull = to_pull(a, n);
    if (!sail__is_dir(dir) ||
        sail__list_dir(a, sail__path_join(a, dir, "snapshots"), &commits, &count, &ignored) != SAIL_OK || count == 0)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s is not in the cache: there is no %s; `sail pull %s` fetches it",
                         text, dir, pull);
    return sail_fail(err, SAIL_E_NOTFOUND,
                     "%s: the cache has no revision `%s` of it in %s, only %s; `sail pull %s` fetches it", text,
                     n->revision, dir, some(a, (const char *const *)commits, count), pull);
}

/* The one file that is meant. */
static sail_code pick(sail_arena *a, const char *text, const sail__hub_name *n, const char *snapshot, const char **path,
                      sail_err *err)
{
    const char **files, **fit, *wanted = n->file ? n->file : "*.gguf";
    size_t count, fits = 0;
    SAIL_TRY(sail__hub_files(a, snapshot, &files, &count, err));
    fit = sail__arena_array(a, count + 1, sizeof *fit);
    if (!fit)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        if (strcmp(files[i], wanted) == 0) { /* a name that is part of others' */
            fit[0] = files[i];
            fits = 1;
            break;
        }
        if (sail__hub_matches(wanted, files[i]))
            fit[fits++] = files[i];
    }
    if (fits > 1)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s may be %zu files: %s; name one: hf:%s/FILE", text, fits,
                         some(a, fit, fits), sail__hub_text(a, n));
    if (fits == 0 && !n->file)
        return sail_fail(err, SAIL_E_NOTFOUND,
                         "%s: no config.json and no .gguf file in %s; `sail pull %s` fetches them", text, snapshot,
                         sail__hub_text(a, n));
    if (fits == 0)
        return sail_fail(err, SAIL_E_NOTFOUND,
                         "%s: nothing like `%s` in %s, which has %s; `sail pull %s --%s '%s'` fetches it", text, wanted,
                         snapshot, some(a, files, count), sail__hub_text(a, n), n->dataset ? "include" : "gguf",
                         wanted);
    *path = sail__path_join(a, snapshot, fit[0]);
    if (*path && !sail__file_exists(*path))
        return sail_fail(err, SAIL_E_NOTFOUND,
                         "%s: %s leads nowhere: its blob is gone; `sail pull %s` fetches it again", text, *path,
                         to_pull(a, n));
    return *path ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

sail_code sail__hub_find(sail_arena *a, const char *text, const char **path, sail_err *err)
{
    static const char *const marks[] = {"config.json", "adapter_config.json", "tokenizer.json"};
    sail__hub_name n;
    const char *root;
    SAIL_TRY(sail__hub_parse(a, text, &n, err));
    if (n.dataset && !n.file)
        return sail_fail(err, SAIL_E_USAGE, "%s: which file of the data set? hf:%s/FILE, or a pattern", text,
                         sail__hub_text(a, &n));
    SAIL_TRY(sail__hub_root(a, &root, err));
    const char *dir = sail__hub_dir(a, root, &n), *commit = dir ? sail__hub_commit(a, dir, n.revision) : NULL;
    if (!dir)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!commit)
        return not_there(a, text, &n, dir, err);
    *path = sail__path_join(a, sail__path_join(a, dir, "snapshots"), commit);
    if (!*path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (n.dataset && strpbrk(n.file, "*?[")) {
        *path = sail__path_join(a, *path, n.file);
        return *path ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; !n.file && i < sizeof marks / sizeof *marks; i++)
        if (sail__file_exists(sail__path_join(a, *path, marks[i])))
            return SAIL_OK;
    return pick(a, text, &n, *path, path, err);
}

/* ---- from a path to its name ---- */

const char *sail__hub_repo_of(sail_arena *a, const char *path)
{
    const char *inside = strstr(path, "/snapshots/"), *at = inside;
    if (!inside)
        return NULL;
    while (at > path && at[-1] != '/')
        at--;
    const char *owner = strncmp(at, "models--", 8) == 0 ? at + 8 : strncmp(at, "datasets--", 10) == 0 ? at + 10 : NULL;
    const char *name = owner ? strstr(owner, "--") : NULL;
    if (!name || name >= inside)
        return NULL;
    return sail__arena_printf(a, "%.*s/%.*s", (int)(name - owner), owner, (int)(inside - name - 2), name + 2);
}

sail_code sail__hub_advise(const char *path, sail_err *err)
{
    sail_arena *a = err->code == SAIL_E_NOTFOUND ? sail__arena_new() : NULL;
    const char *repo = a ? sail__hub_repo_of(a, path) : NULL, *inside = repo ? strstr(path, "/snapshots/") + 11 : NULL;
    if (repo) {
        char before[sizeof err->message];
        strcpy(before, err->message);
        sail_fail(err, err->code, "%s; `sail pull %s@%.*s` fetches what is missing", before, repo,
                  (int)strcspn(inside, "/"), inside);
    }
    sail__arena_free(a);
    return err->code;
}
