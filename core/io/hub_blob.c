/* hub_blob.c - see hub_blob.h. */
#include "hub_blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

sail_code sail__hub_store_open(sail_ctx *ctx, sail_arena *a, const sail__hub_name *n, sail__hub_store *out,
                               sail_err *err)
{
    const char *root;
    SAIL_TRY(sail__hub_root(a, &root, err));
    *out = (sail__hub_store){.ctx = ctx,
                             .arena = a,
                             .dir = sail__hub_dir(a, root, n),
                             .locks = sail__hub_dir(a, sail__path_join(a, root, ".locks"), n)};
    return out->dir && out->locks ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

const char *sail__hub_blob_path(const sail__hub_store *s, const char *hash)
{
    return sail__path_join(s->arena, sail__path_join(s->arena, s->dir, "blobs"), hash);
}

static const char *part_path(const sail__hub_store *s, const char *hash)
{
    const char *blob = sail__hub_blob_path(s, hash);
    return blob ? sail__arena_printf(s->arena, "%s.incomplete", blob) : NULL;
}

/* A whole blob; one of another size is none. */
static bool whole(const char *path, uint64_t size)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

uint64_t sail__hub_blob_bytes(const sail__hub_store *s, const sail__hub_file *f)
{
    struct stat st;
    const char *part = part_path(s, f->hash);
    if (whole(sail__hub_blob_path(s, f->hash), f->size))
        return f->size;
    return part && stat(part, &st) == 0 && (uint64_t)st.st_size <= f->size ? (uint64_t)st.st_size : 0;
}

/* ---- locks ---- */

static sail_code lock(sail__hub_store *s, const sail__hub_file *f, int *fd, sail_err *err)
{
    const char *path = sail__arena_printf(s->arena, "%s/%s.lock", s->locks, f->hash);
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__make_dirs(s->locks, err));
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot open the lock: %s", path, strerror(errno));
    for (bool told = false; flock(*fd, LOCK_EX | LOCK_NB) != 0; told = true) {
        int number = errno;
        const struct timespec nap = {0, 100 * 1000 * 1000};
        if (sail_cancelled(s->ctx) || (number != EWOULDBLOCK && number != EINTR)) {
            close(*fd);
            return sail_cancelled(s->ctx)
                       ? sail_fail(err, SAIL_E_CANCEL, "stopped while another program fetches %s", f->path)
                       : sail_fail(err, SAIL_E_IO, "%s: cannot lock: %s", path, strerror(number));
        }
        if (!told)
            sail_log(s->ctx, SAIL_LOG_INFO, "%s: another program fetches it; waiting for it", f->path);
        nanosleep(&nap, NULL);
    }
    return SAIL_OK;
}

/* ---- bytes ---- */

typedef struct part {
    sail__hub_sink sink; /* first: take gets its address */
    sail__hub_store *store;
    const sail__hub_file *file;
    const char *path;
    int fd;
    sail_digest digest;
} part;

static void begin_digest(part *p)
{
    char head[32];
    sail_digest_begin(&p->digest, p->file->kind);
    if (p->file->kind == SAIL_SHA1) /* as git has it: a header that ends with a NUL, and the bytes */
        sail_digest_add(&p->digest, head,
                        (size_t)snprintf(head, sizeof head, "blob %llu", (unsigned long long)p->file->size) + 1);
}

static void tell(part *p, uint64_t more)
{
    static const uint64_t MB = 1000000;
    sail__hub_store *s = p->store;
    s->done += more;
    if (s->total >= MB)
        sail_progress(s->ctx, "fetched, MB", s->done / MB, (s->total + MB - 1) / MB);
}

static sail_code again_from_0(part *p, sail_err *err)
{
    if (ftruncate(p->fd, 0) != 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot empty it: %s", p->path, strerror(errno));
    p->store->total += p->sink.at; /* to be fetched once more */
    p->sink.at = 0;
    begin_digest(p);
    return SAIL_OK;
}

static sail_code take(sail__hub_sink *sink, uint64_t at, const void *data, size_t n, sail_err *err)
{
    part *p = (part *)sink;
    if (at != sink->at && at == 0)
        SAIL_TRY(again_from_0(p, err));
    if (at != sink->at)
        return sail_fail(err, SAIL_E_IO, "%s: byte %llu came where %llu was asked for", p->file->path,
                         (unsigned long long)at, (unsigned long long)sink->at);
    if (n > sink->size - at)
        return sail_fail(err, SAIL_E_IO, "%s: more comes than the %llu bytes that the hub records: refused",
                         p->file->path, (unsigned long long)sink->size);
    for (size_t written = 0; written < n;) {
        ssize_t k = pwrite(p->fd, (const char *)data + written, n - written, (off_t)(at + written));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return sail_fail(err, SAIL_E_IO,
                             "%s: cannot write: %s; what has come is kept: run it again when there is room", p->path,
                             strerror(k < 0 ? errno : ENOSPC));
        written += (size_t)k;
    }
    sail_digest_add(&p->digest, data, n);
    sink->at += n;
    tell(p, n);
    return SAIL_OK;
}

/* What is there of an earlier time enters the hash. */
static sail_code read_before(part *p, uint64_t there, sail_err *err)
{
    enum { PIECE = 1 << 20 };
    char *piece = sail__malloc(PIECE);
    sail_code code = piece ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    while (code == SAIL_OK && p->sink.at < there) {
        ssize_t n = pread(p->fd, piece, PIECE, (off_t)p->sink.at);
        if (n < 0 && errno == EINTR)
            continue;
        if (sail_cancelled(p->store->ctx))
            code = sail_fail(err, SAIL_E_CANCEL, "stopped while %s was read", p->path);
        else if (n <= 0)
            code = sail_fail(err, SAIL_E_IO, "%s: cannot read: %s", p->path,
                             n < 0 ? strerror(errno) : "it became shorter");
        else
            sail_digest_add(&p->digest, piece, (size_t)n);
        p->sink.at += n > 0 ? (uint64_t)n : 0;
    }
    sail__free(piece);
    return code;
}

/* All bytes, from where the file ends; *right: they have the hash. */
static sail_code complete(part *p, sail__hub_remote *r, const sail__hub_name *n, const char *commit, char hex[65],
                          bool *right, sail_err *err)
{
    if (p->sink.at < p->sink.size)
        SAIL_TRY(sail__hub_remote_get(r, n, commit, p->file->path, &p->sink, err));
    sail_digest_hex(&p->digest, hex);
    *right = strcmp(hex, p->file->hash) == 0;
    return SAIL_OK;
}

static sail_code into_part(part *p, sail__hub_remote *r, const sail__hub_name *n, const char *commit, sail_err *err)
{
    struct stat st;
    char hex[65];
    bool right;
    if (fstat(p->fd, &st) != 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot look at it: %s", p->path, strerror(errno));
    begin_digest(p);
    if ((uint64_t)st.st_size > p->file->size)
        SAIL_TRY(again_from_0(p, err));
    else
        SAIL_TRY(read_before(p, (uint64_t)st.st_size, err));
    bool resumed = p->sink.at > 0;
    SAIL_TRY(complete(p, r, n, commit, hex, &right, err));
    if (!right && resumed) { /* what was there before may have been wrong: a power cut, another program */
        sail_log(p->store->ctx, SAIL_LOG_WARN, "%s: what was there of it was damaged; it is fetched anew",
                 p->file->path);
        SAIL_TRY(again_from_0(p, err));
        SAIL_TRY(complete(p, r, n, commit, hex, &right, err));
    }
    if (!right) {
        unlink(p->path);
        return sail_fail(err, SAIL_E_IO,
                         "%s: what came has the hash %s, and the hub records %s: refused, and nothing of it is kept",
                         p->file->path, hex, p->file->hash);
    }
    if (fsync(p->fd) != 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot save (fsync): %s", p->path, strerror(errno));
    if (fstat(p->fd, &st) != 0 ||
        (uint64_t)st.st_size != p->file->size) /* some network file systems grant a lock to all who ask */
        return sail_fail(err, SAIL_E_IO, "%s: another program has changed it meanwhile: run it again", p->path);
    return SAIL_OK;
}

/* Whether a blob that is whole by its size has its hash. */
static sail_code is_right(sail__hub_store *s, const sail__hub_file *f, const char *blob, bool *right, sail_err *err)
{
    part p = {.sink = {.size = f->size}, .store = s, .file = f, .path = blob, .fd = open(blob, O_RDONLY | O_CLOEXEC)};
    char hex[65];
    if (p.fd < 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot read: %s", blob, strerror(errno));
    begin_digest(&p);
    sail_code code = read_before(&p, f->size, err);
    close(p.fd);
    sail_digest_hex(&p.digest, hex);
    *right = strcmp(hex, f->hash) == 0;
    return code;
}

static sail_code fetch_locked(sail__hub_store *s, sail__hub_remote *r, const sail__hub_name *n, const char *commit,
                              const sail__hub_file *f, const char *blob, sail_err *err)
{
    part p = {.sink = {.size = f->size, .take = take}, .store = s, .file = f, .path = part_path(s, f->hash)};
    const char *dir = p.path ? sail__path_dir(s->arena, p.path) : NULL;
    char size[16];
    if (!dir)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__make_dirs(dir, err));
    p.fd = open(p.path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (p.fd < 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot write: %s", p.path, strerror(errno));
    sail_log(s->ctx, SAIL_LOG_INFO, "%s (%s)", f->path, sail__size_text(f->size, size));
    sail_code code = into_part(&p, r, n, commit, err);
    if (close(p.fd) != 0 && code == SAIL_OK)
        code = sail_fail(err, SAIL_E_IO, "%s: cannot close: %s", p.path, strerror(errno));
    if (code == SAIL_OK && rename(p.path, blob) != 0)
        code = sail_fail(err, SAIL_E_IO, "%s: cannot put it in place: %s", blob, strerror(errno));
    return code == SAIL_OK ? sail__sync_dir(dir, err) : code;
}

sail_code sail__hub_blob_fetch(sail__hub_store *s, sail__hub_remote *r, const sail__hub_name *n, const char *commit,
                               const sail__hub_file *f, bool *fetched, sail_err *err)
{
    const char *blob = sail__hub_blob_path(s, f->hash);
    int fd;
    *fetched = false;
    if (!blob)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    bool there = whole(blob, f->size);
    if (there && !s->verify)
        return SAIL_OK;
    SAIL_TRY(lock(s, f, &fd, err));
    sail_code code = SAIL_OK;
    if (there && (code = is_right(s, f, blob, &there, err)) == SAIL_OK && !there) {
        sail_log(s->ctx, SAIL_LOG_WARN, "%s: it is damaged; it is fetched anew", f->path);
        s->total += f->size;
    } else if (code == SAIL_OK && !there) {
        there = whole(blob, f->size); /* somebody did it meanwhile */
    }
    if (code == SAIL_OK && !there) {
        code = fetch_locked(s, r, n, commit, f, blob, err);
        *fetched = code == SAIL_OK;
    }
    close(fd);
    return code;
}
