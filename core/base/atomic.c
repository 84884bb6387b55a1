/* atomic.c - files that are wholly old or wholly new after a crash: temporary file in the same directory, write,
 * fsync, rename, fsync of the directory. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

enum { BUFFER = 1 << 16 };

struct sail_atomic {
    int fd;
    bool direct;      /* the path is a device, pipe or socket: written as it is */
    sail_arena *arena;
    char *path, *temporary; /* path: links resolved; temporary: NULL when direct */
    size_t used;
    unsigned char buffer[BUFFER];
};

static sail_code write_failed(sail_err *err, const char *what, const char *path, int number)
{
    return sail_fail(err, number == ENOMEM ? SAIL_E_NOMEM : SAIL_E_IO, "%s: cannot %s: %s", path, what, strerror(number));
}

static void release(sail_atomic *f)
{
    if (f->fd >= 0)
        close(f->fd);
    sail__arena_free(f->arena);
    sail__free(f);
}

void sail__atomic_abort(sail_atomic *f)
{
    if (!f)
        return;
    if (f->temporary)
        unlink(f->temporary);
    release(f);
}

/* Makes `path.tmp-PID-…` beside the path; the mode is that of the file it replaces, or what the umask leaves. */
static sail_code open_temporary(sail_atomic *f, const struct stat *old, sail_err *err)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        f->temporary = sail__arena_printf(f->arena, "%s.tmp-%ld-%lx", f->path, (long)getpid(),
                                          (unsigned long)t.tv_nsec + (unsigned long)attempt);
        if (!f->temporary)
            return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write it", f->path);
        f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd >= 0) {
            if (old)
                (void)!fchmod(f->fd, old->st_mode & 0777); /* as good as it gets: the content matters more */
            return SAIL_OK;
        }
        if (errno != EEXIST)
            break;
    }
    int number = errno;
    f->temporary = NULL;
    return write_failed(err, "write (no temporary file beside it)", f->path, number);
}

sail_code sail__atomic_begin(const char *path, sail_atomic **out, sail_err *err)
{
    *out = NULL;
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for the name of a file");
    sail_atomic *f = sail__malloc(sizeof *f);
    if (!f)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write it", path);
    f->fd = -1, f->direct = false, f->used = 0, f->path = f->temporary = NULL;
    f->arena = sail__arena_new();
    struct stat st;
    bool exists = stat(path, &st) == 0;
    sail_code code = SAIL_OK;
    if (f->arena) {
        char real[PATH_MAX];
        f->path = sail__arena_strdup(f->arena, exists && realpath(path, real) ? real : path);
    }
    if (!f->path)
        code = sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write it", path);
    else if (exists && S_ISDIR(st.st_mode))
        code = sail_fail(err, SAIL_E_IO, "%s: cannot write: it is a directory", path);
    else if (exists && !S_ISREG(st.st_mode)) {
        f->direct = true;
        f->fd = open(path, O_WRONLY | O_CLOEXEC);
        if (f->fd < 0)
            code = write_failed(err, "open for writing", path, errno);
    } else {
        code = open_temporary(f, exists ? &st : NULL, err);
    }
    if (code != SAIL_OK)
        sail__atomic_abort(f);
    else
        *out = f;
    return code;
}

static sail_code write_all(sail_atomic *f, const unsigned char *data, size_t size, sail_err *err)
{
    while (size > 0) {
        /* Linux writes at most 2 GiB less a page at once */
        ssize_t n = write(f->fd, data, size < (1u << 30) ? size : (1u << 30));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return write_failed(err, "write", f->path, n < 0 ? errno : ENOSPC);
        data += n, size -= (size_t)n;
    }
    return SAIL_OK;
}

sail_code sail__atomic_write(sail_atomic *f, const void *data, size_t size, sail_err *err)
{
    if (size > BUFFER - f->used) {
        SAIL_TRY(write_all(f, f->buffer, f->used, err));
        f->used = 0;
        if (size >= BUFFER)
            return write_all(f, data, size, err);
    }
    if (size)
        memcpy(f->buffer + f->used, data, size);
    f->used += size;
    return SAIL_OK;
}

sail_code sail__sync_dir(const char *path, sail_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return write_failed(err, "open the directory to save it", path, errno);
    /* EINVAL: a file system that does not know fsync of directories */
    int number = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return number ? write_failed(err, "save the directory (fsync)", path, number) : SAIL_OK;
}

sail_code sail__atomic_commit(sail_atomic *f, sail_err *err)
{
    sail_code code = write_all(f, f->buffer, f->used, err);
    if (code == SAIL_OK && !f->direct && fsync(f->fd) != 0)
        code = write_failed(err, "save (fsync)", f->path, errno);
    /* close before the rename: some file systems tell of a failed write only here */
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && errno != EINTR && code == SAIL_OK)
        code = write_failed(err, "close", f->path, errno);
    if (code == SAIL_OK && !f->direct && rename(f->temporary, f->path) != 0)
        code = write_failed(err, "put the new file in place (rename)", f->path, errno);
    if (code != SAIL_OK) {
        sail__atomic_abort(f);
        return code;
    }
    if (!f->direct) {
        char *dir = sail__path_dir(f->arena, f->path);
        code = dir ? sail__sync_dir(dir, err) : sail_fail(err, SAIL_E_NOMEM, "%s: no memory to save it", f->path);
    }
    release(f);
    return code;
}

sail_code sail__file_write(const char *path, const void *data, size_t size, sail_err *err)
{
    sail_atomic *f;
    SAIL_TRY(sail__atomic_begin(path, &f, err));
    sail_code code = sail__atomic_write(f, data, size, err);
    if (code != SAIL_OK) {
        sail__atomic_abort(f);
        return code;
    }
    return sail__atomic_commit(f, err);
}
