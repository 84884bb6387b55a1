/* checkpoint.c - checkpoints as directories that are there whole or not at all.
 *
 * COMPLETE is text: a first line "sail-checkpoint 1 STEP", one line "HASH SIZE NAME" a file, sorted by name, and a last line
 * "end HASH" with the hash of all that stands before it. */
#include "checkpoint.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char complete_name[] = "COMPLETE", state_name[] = "state.json", prefix[] = "step-", temporary[] = ".tmp-";
enum { STATE_MOST = 1 << 30, COMPLETE_MOST = 1 << 26, CHUNK = 1 << 16 };

struct sail__checkpoint_writer {
    sail_arena *arena;
    const char *dir, *path, *temp;
    int64_t step;
    int fd; /* of the open file; -1: none */
    const char *fd_path;
};

/* One file of a checkpoint. */
typedef struct entry {
    const char *name; /* relative; '/' between parts */
    uint64_t size;
    char hash[33];
} entry;
typedef struct entries {
    entry *items;
    size_t n, cap;
} entries;

static sail_code no_memory(const char *path, sail_err *err) { return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path); }
static sail_code failed(const char *path, const char *doing, sail_err *err)
{
    return sail_fail(err, SAIL_E_IO, "%s: %s: %s", path, doing, strerror(errno));
}

/* ---- hashing and flushing a tree ---- */

static sail_code hash_file(const char *path, bool flush, entry *e, sail_err *err)
{
    /* read, not mapped: a failing disk is then an error and not a signal */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return failed(path, "open", err);
    char *chunk = sail__malloc(CHUNK);
    sail__hasher h;
    sail__hasher_begin(&h);
    e->size = 0;
    sail_code code = chunk ? SAIL_OK : no_memory(path, err);
    while (code == SAIL_OK) {
        ssize_t n = read(fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            code = failed(path, "read", err);
        if (n <= 0)
            break;
        sail__hasher_raw(&h, chunk, (size_t)n);
        e->size += (uint64_t)n;
    }
    sail__hasher_hex(&h, e->hash);
    if (code == SAIL_OK && flush && fsync(fd) != 0)
        code = failed(path, "flush", err);
    sail__free(chunk);
    close(fd);
    return code;
}

/* All files under root/sub, COMPLETE apart, hashed, sorted by name; with flush, files and directories are flushed. */
static sail_code walk(sail_arena *a, const char *root, const char *sub, bool flush, int depth, entries *out, sail_err *err)
{
    const char *dir = *sub ? sail__path_join(a, root, sub) : root;
    char **names = NULL;
    size_t n = 0;
    if (!dir)
        return no_memory(root, err);
    if (depth > 16)
        return sail_fail(err, SAIL_E_FORMAT, "%s: directories nested too deeply for a checkpoint", dir);
    SAIL_TRY(sail__list_dir(a, dir, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *name = *sub ? sail__path_join(a, sub, names[i]) : names[i];
        const char *path = name ? sail__path_join(a, root, name) : NULL;
        struct stat st;
        if (!path)
            return no_memory(root, err);
        if (!*sub && !strcmp(name, complete_name))
            continue;
        if (strchr(name, '\n'))
            return sail_fail(err, SAIL_E_FORMAT, "%s: a file name in a checkpoint holds a line end", dir);
        if (lstat(path, &st) != 0)
            return failed(path, "look at", err);
        if (S_ISDIR(st.st_mode)) {
            SAIL_TRY(walk(a, root, name, flush, depth + 1, out, err));
            continue;
        }
        if (!S_ISREG(st.st_mode))
            return sail_fail(err, SAIL_E_FORMAT, "%s: a checkpoint holds plain files only", path);
        SAIL_TRY(sail__grow(&out->items, &out->cap, out->n + 1, sizeof *out->items, err));
        out->items[out->n].name = name;
        SAIL_TRY(hash_file(path, flush, &out->items[out->n], err));
        out->n++;
    }
    return flush ? sail__sync_dir(dir, err) : SAIL_OK;
}

/* ---- writing ---- */

static int64_t step_of(const char *name, const char *start)
{
    size_t n = strlen(start);
    char *end;
    if (strncmp(name, start, n) != 0 || name[n] < '0' || name[n] > '9')
        return -1;
    errno = 0;
    long long step = strtoll(name + n, &end, 10);
    return *end || errno || step < 0 ? -1 : step;
}

/* What writers that were killed left behind. */
static sail_code remove_leftovers(sail_arena *a, const char *dir, sail_err *err)
{
    char **names = NULL;
    size_t n = 0;
    SAIL_TRY(sail__list_dir(a, dir, &names, &n, err));
    for (size_t i = 0; i < n; i++)
        if (!strncmp(names[i], temporary, sizeof temporary - 1)) {
            const char *path = sail__path_join(a, dir, names[i]);
            SAIL_TRY(path ? sail__remove_tree(path, err) : no_memory(dir, err));
        }
    return SAIL_OK;
}

sail_code sail__checkpoint_clean(const char *dir, sail_err *err)
{
    if (!sail__is_dir(dir))
        return SAIL_OK;
    sail_arena *a = sail__arena_new();
    sail_code code = a ? remove_leftovers(a, dir, err) : no_memory(dir, err);
    sail__arena_free(a);
    return code;
}

static sail_code begin(sail__checkpoint_writer *w, const char *dir, int64_t step, sail_err *err)
{
    w->dir = sail__arena_strdup(w->arena, dir);
    w->path = sail__arena_printf(w->arena, "%s/%s%06lld", dir, prefix, (long long)step);
    w->temp = sail__arena_printf(w->arena, "%s/%s%s%06lld", dir, temporary, prefix, (long long)step);
    w->step = step;
    if (!w->dir || !w->path || !w->temp)
        return no_memory(dir, err);
    SAIL_TRY(sail__make_dirs(dir, err));
    SAIL_TRY(remove_leftovers(w->arena, dir, err));
    return mkdir(w->temp, 0777) == 0 ? SAIL_OK : failed(w->temp, "make the directory", err);
}

sail_code sail__checkpoint_begin(const char *dir, int64_t step, sail__checkpoint_writer **out, sail_err *err)
{
    *out = NULL;
    if (step < 0)
        return sail_fail(err, SAIL_E_ARG, "%s: a checkpoint's step must not be negative (%lld)", dir, (long long)step);
    sail__checkpoint_writer *w = sail__calloc(1, sizeof *w);
    if (!w || !(w->arena = sail__arena_new())) {
        sail__free(w);
        return no_memory(dir, err);
    }
    w->fd = -1;
    sail_code code = begin(w, dir, step, err);
    if (code != SAIL_OK)
        sail__checkpoint_abort(w);
    else
        *out = w;
    return code;
}

const char *sail__checkpoint_temporary(const sail__checkpoint_writer *w) { return w->temp; }

static sail_code close_file(sail__checkpoint_writer *w, sail_err *err)
{
    if (w->fd < 0)
        return SAIL_OK;
    int fd = w->fd;
    w->fd = -1;
    sail_code code = fsync(fd) == 0 ? SAIL_OK : failed(w->fd_path, "flush", err);
    if (close(fd) != 0 && code == SAIL_OK)
        code = failed(w->fd_path, "close", err);
    return code;
}

static bool plain_name(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (!*part || *part == '/' || !strcmp(part, ".") || !strcmp(part, "..") || !strncmp(part, "../", 3) ||
            !strncmp(part, "./", 2))
            return false;
    return strcmp(name, complete_name) != 0 && !strchr(name, '\n');
}

sail_code sail__checkpoint_open_file(sail__checkpoint_writer *w, const char *name, sail_err *err)
{
    SAIL_TRY(close_file(w, err));
    if (!plain_name(name))
        return sail_fail(err, SAIL_E_ARG, "%s: `%s` cannot be a file of a checkpoint", w->path, name);
    w->fd_path = sail__path_join(w->arena, w->temp, name);
    const char *parent = w->fd_path ? sail__path_dir(w->arena, w->fd_path) : NULL;
    if (!parent)
        return no_memory(w->path, err);
    SAIL_TRY(sail__make_dirs(parent, err));
    w->fd = open(w->fd_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return w->fd >= 0 ? SAIL_OK : failed(w->fd_path, "create", err);
}

sail_code sail__checkpoint_write(sail__checkpoint_writer *w, const void *data, size_t size, sail_err *err)
{
    const char *at = data;
    if (w->fd < 0)
        return sail_fail(err, SAIL_E_STATE, "%s: no file of the checkpoint is open", w->path);
    while (size > 0) {
        ssize_t n = write(w->fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : ENOSPC;
            return failed(w->fd_path, "write", err);
        }
        at += n;
        size -= (size_t)n;
    }
    return SAIL_OK;
}

sail_code sail__checkpoint_add(sail__checkpoint_writer *w, const char *name, const void *data, size_t size, sail_err *err)
{
    SAIL_TRY(sail__checkpoint_open_file(w, name, err));
    SAIL_TRY(sail__checkpoint_write(w, data, size, err));
    return close_file(w, err);
}

static void print_complete(sail_buf *b, int64_t step, const entries *files)
{
    char hash[33];
    sail__buf_printf(b, "sail-checkpoint 1 %lld\n", (long long)step);
    for (size_t i = 0; i < files->n; i++)
        sail__buf_printf(b, "%s %llu %s\n", files->items[i].hash, (unsigned long long)files->items[i].size, files->items[i].name);
    if (b->oom)
        return;
    sail__hash_hex(b->data, b->len, hash);
    sail__buf_printf(b, "end %s\n", hash);
}

static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

static sail_code add_complete(sail__checkpoint_writer *w, entries *files, sail_err *err)
{
    sail_buf text = {0};
    SAIL_TRY(walk(w->arena, w->temp, "", true, 0, files, err));
    qsort(files->items, files->n, sizeof *files->items, by_name);
    print_complete(&text, w->step, files);
    sail_code code = text.oom ? no_memory(w->path, err) : SAIL_OK;
    w->fd_path = sail__path_join(w->arena, w->temp, complete_name);
    if (code == SAIL_OK && !w->fd_path)
        code = no_memory(w->path, err);
    if (code == SAIL_OK && (w->fd = open(w->fd_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        code = failed(w->fd_path, "create", err);
    if (code == SAIL_OK)
        code = sail__checkpoint_write(w, text.data, text.len, err);
    if (code == SAIL_OK)
        code = close_file(w, err);
    sail__buf_free(&text);
    return code == SAIL_OK ? sail__sync_dir(w->temp, err) : code;
}

/* Put the temporary directory in the place of path. */
static sail_code publish(sail__checkpoint_writer *w, sail_err *err)
{
    struct stat st;
    if (lstat(w->path, &st) != 0) {
        if (rename(w->temp, w->path) != 0)
            return failed(w->path, "rename into place", err);
        return sail__sync_dir(w->dir, err);
    }
    /* one of this step exists: change places, then what was there is the temporary one */
    if (renameat2(AT_FDCWD, w->temp, AT_FDCWD, w->path, RENAME_EXCHANGE) != 0) {
        const char *old = sail__arena_printf(w->arena, "%s.old", w->temp);
        if (!old)
            return no_memory(w->path, err);
        if ((errno != EINVAL && errno != ENOSYS) || rename(w->path, old) != 0)
            return failed(w->path, "replace", err);
        if (rename(w->temp, w->path) != 0) {
            failed(w->path, "rename into place", err);
            if (rename(old, w->path) != 0)
                sail_fail_in(err, "the one that was there is now %s", old);
            return err->code;
        }
        w->temp = old;
    }
    const char *replaced = w->temp;
    w->temp = NULL; /* if the flush fails, either may be what a power loss leaves: both stay */
    SAIL_TRY(sail__sync_dir(w->dir, err));
    return sail__remove_tree(replaced, err);
}

static sail_code commit(sail__checkpoint_writer *w, const sail_node *state, entries *files, sail_err *err)
{
    sail_buf json = {0};
    sail__node_to_json(&json, state);
    sail__buf_str(&json, "\n");
    sail_code code = json.oom ? no_memory(w->path, err) : sail__checkpoint_add(w, state_name, json.data, json.len, err);
    sail__buf_free(&json);
    SAIL_TRY(code);
    SAIL_TRY(add_complete(w, files, err));
    return publish(w, err);
}

sail_code sail__checkpoint_commit(sail__checkpoint_writer *w, const sail_node *state, sail_err *err)
{
    entries files = {0};
    sail_code code = close_file(w, err);
    if (code == SAIL_OK)
        code = commit(w, state, &files, err);
    sail__free(files.items);
    sail__checkpoint_abort(w); /* after a success there is nothing left under the temporary name */
    return code;
}

void sail__checkpoint_abort(sail__checkpoint_writer *w)
{
    sail_err ignored;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temp)
        (void)sail__remove_tree(w->temp, &ignored);
    sail__arena_free(w->arena);
    sail__free(w);
}

/* ---- reading ---- */

static sail_code damaged(const char *path, const char *what, const char *name, sail_err *err)
{
    return sail_fail(err, SAIL_E_FORMAT, "%s: damaged checkpoint: %s%s%s", path, what, name ? " " : "", name ? name : "");
}

static sail_code verify(sail_arena *a, const char *path, const char *text, size_t size, entries *files, sail_err *err)
{
    static const char end[] = "end ";
    char hash[33];
    int64_t step = step_of(sail__path_base(path), prefix);
    size_t tail = sizeof end - 1 + 32 + 1;
    if (size < tail || text[size - 1] != '\n' || memcmp(text + size - tail, end, sizeof end - 1) != 0)
        return damaged(path, "incomplete", complete_name, err);
    sail__hash_hex(text, size - tail, hash);
    if (memcmp(hash, text + size - 33, 32) != 0)
        return damaged(path, "wrong hash of", complete_name, err);
    SAIL_TRY(walk(a, path, "", false, 0, files, err));
    qsort(files->items, files->n, sizeof *files->items, by_name);
    sail_buf want = {0};
    print_complete(&want, step, files);
    if (want.oom)
        return no_memory(path, err);
    sail_code code = SAIL_OK;
    if (want.len != size || memcmp(want.data, text, size) != 0) {
        /* say which: the first file whose own line is not there */
        const char *name = NULL;
        for (size_t i = 0; i < files->n && !name; i++) {
            const entry *e = &files->items[i];
            char *line = sail__arena_printf(a, "\n%s %llu %s\n", e->hash, (unsigned long long)e->size, e->name);
            if (!line || !strstr(text, line))
                name = e->name;
        }
        code = name ? damaged(path, "wrong hash, or not of it:", name, err)
                    : damaged(path, "a file is missing, or the directory was renamed", NULL, err);
    }
    sail__buf_free(&want);
    return code;
}

sail_code sail__checkpoint_verify(const char *path, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    const char *complete = a ? sail__path_join(a, path, complete_name) : NULL;
    char *text = NULL;
    size_t size = 0;
    entries files = {0};
    sail_code code = SAIL_OK;
    if (!complete)
        code = no_memory(path, err);
    else if (!sail__is_dir(path))
        code = sail_fail(err, SAIL_E_NOTFOUND, "%s: no such checkpoint", path);
    else if (!sail__file_exists(complete))
        code = damaged(path, "there is no", complete_name, err);
    else if ((code = sail__file_read(complete, COMPLETE_MOST, &text, &size, err)) == SAIL_OK)
        code = verify(a, path, text, size, &files, err);
    sail__free(text);
    sail__free(files.items);
    sail__arena_free(a);
    return code;
}

sail_code sail__checkpoint_load(sail_arena *a, const char *path, sail__checkpoint *out, sail_err *err)
{
    sail_node *state = NULL;
    SAIL_TRY(sail__checkpoint_verify(path, err));
    const char *copy = sail__arena_strdup(a, path), *state_path = sail__path_join(a, path, state_name);
    if (!copy || !state_path)
        return no_memory(path, err);
    SAIL_TRY(sail__json_read(a, state_path, STATE_MOST, &state, err));
    *out = (sail__checkpoint){copy, step_of(sail__path_base(path), prefix), state};
    return SAIL_OK;
}

static int by_step(const void *a, const void *b)
{
    int64_t x = ((const sail__checkpoint *)a)->step, y = ((const sail__checkpoint *)b)->step;
    return (x > y) - (x < y);
}

sail_code sail__checkpoint_list(sail_arena *a, const char *dir, sail__checkpoint **out, size_t *n, sail_err *err)
{
    char **names = NULL;
    size_t count = 0;
    *out = NULL, *n = 0;
    if (!sail__is_dir(dir))
        return SAIL_OK;
    SAIL_TRY(sail__list_dir(a, dir, &names, &count, err));
    sail__checkpoint *list = sail__arena_array(a, count + 1, sizeof *list);
    if (!list)
        return no_memory(dir, err);
    for (size_t i = 0; i < count; i++) {
        int64_t step = step_of(names[i], prefix);
        if (step < 0)
            continue;
        list[*n].step = step;
        if (!(list[*n].path = sail__path_join(a, dir, names[i])))
            return no_memory(dir, err);
        ++*n;
    }
    qsort(list, *n, sizeof *list, by_step);
    *out = list;
    return SAIL_OK;
}

sail_code sail__checkpoint_newest(sail_ctx *ctx, sail_arena *a, const char *dir, int64_t most, sail__checkpoint *out,
                                  sail_err *err)
{
    sail__checkpoint *list = NULL;
    size_t n = 0;
    sail_err first = {0};
    SAIL_TRY(sail__checkpoint_list(a, dir, &list, &n, err));
    while (n-- > 0) {
        if (most >= 0 && list[n].step > most)
            continue;
        sail_code code = sail__checkpoint_load(a, list[n].path, out, err);
        if (code == SAIL_OK || code == SAIL_E_NOMEM)
            return code;
        sail_log(ctx, SAIL_LOG_WARN, "%s; trying the one before", err->message);
        if (first.code == SAIL_OK)
            first = *err;
    }
    if (first.code == SAIL_OK)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: no checkpoint there", dir);
    return sail_fail(err, SAIL_E_FORMAT, "%s: no checkpoint there is whole; the newest: %s", dir, first.message);
}

sail_code sail__checkpoint_of(sail_arena *a, const char *dir, int64_t step, sail__checkpoint *out, sail_err *err)
{
    sail__checkpoint *list;
    size_t n;
    SAIL_TRY(sail__checkpoint_list(a, dir, &list, &n, err));
    for (size_t i = 0; i < n; i++)
        if (list[i].step == step)
            return sail__checkpoint_load(a, list[i].path, out, err);
    return sail_fail(err, SAIL_E_NOTFOUND, "%s: no checkpoint of step %lld there", dir, (long long)step);
}

/* Renamed first: a name step-… is never half a checkpoint, also when killed in between. */
static sail_code discard(sail_arena *a, const char *dir, const sail__checkpoint *c, sail_err *err)
{
    const char *gone = sail__arena_printf(a, "%s/%sremove-%06lld", dir, temporary, (long long)c->step);
    if (!gone)
        return no_memory(dir, err);
    SAIL_TRY(sail__remove_tree(gone, err));
    if (rename(c->path, gone) != 0)
        return failed(c->path, "remove", err);
    return sail__remove_tree(gone, err);
}

static bool among(int64_t step, const int64_t *steps, size_t n)
{
    while (n-- > 0)
        if (steps[n] == step)
            return true;
    return false;
}

/* Those after a step go, and of the others those before the `keep` newest in all, but for besides[]. */
static sail_code thin_out(const char *dir, int64_t after, uint64_t keep, const int64_t *besides, size_t n_besides, sail_err *err)
{
    sail__checkpoint *list = NULL;
    size_t n = 0;
    sail_arena *a = sail__arena_new();
    if (!a)
        return no_memory(dir, err);
    sail_code code = sail__checkpoint_list(a, dir, &list, &n, err);
    for (size_t i = 0; code == SAIL_OK && i < n; i++)
        if (list[i].step > after || (n - i > keep && !among(list[i].step, besides, n_besides)))
            code = discard(a, dir, &list[i], err);
    sail__arena_free(a);
    return code;
}

sail_code sail__checkpoint_prune(const char *dir, int64_t keep, const int64_t *besides, size_t n, sail_err *err)
{
    return thin_out(dir, INT64_MAX, keep > 0 ? (uint64_t)keep : 1, besides, n, err);
}

sail_code sail__checkpoint_cut(const char *dir, int64_t step, sail_err *err) { return thin_out(dir, step, UINT64_MAX, NULL, 0, err); }
