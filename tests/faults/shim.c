/* shim.c - LD_PRELOAD: the k-th call of a kind that touches the run fails, is cut short, or ends the process.
 *
 * FAULT_AT=k (from 1), FAULT_CALLS (any of w: write, pwrite; f: fsync, fdatasync; r: rename, mkdir, ftruncate; default wfr),
 * FAULT_DO: kill | nospace (this and every later write of the kind fails with ENOSPC) | eio | short (half of the bytes).
 * FAULT_COUNT=FILE: nothing fails; the number of calls is written there at the end. FAULT_PATH: only files whose path holds it;
 * descriptors are looked up in /proc. */
#undef _FILE_OFFSET_BITS /* both names of each call are defined here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;

static int wanted(char kind, const char *path)
{
    const char *kinds = getenv("FAULT_CALLS"), *part = getenv("FAULT_PATH");
    if (!part || !strstr(path, part))
        return 0;
    return strchr(kinds ? kinds : "wfr", kind) != NULL;
}

static int wanted_fd(char kind, int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return 0;
    path[n] = 0;
    return wanted(kind, path);
}

/* 0: go on; 1: cut it short; -1: fails, errno set. */
static int fault(char kind)
{
    const char *at = getenv("FAULT_AT"), *what = getenv("FAULT_DO");
    long k = atomic_fetch_add(&calls, 1) + 1, want = at ? atol(at) : 0;
    if (!want || !what)
        return 0;
    if (!strcmp(what, "nospace")) {
        if (k < want || kind == 'f')
            return 0;
        errno = ENOSPC;
        return -1;
    }
    if (k != want)
        return 0;
    if (!strcmp(what, "kill"))
        _exit(137);
    if (!strcmp(what, "short"))
        return kind == 'w';
    errno = EIO;
    return -1;
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("FAULT_COUNT");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", atomic_load(&calls));
        fclose(f);
    }
}

#pragma GCC visibility push(default)
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(write);
    int f = fd > 2 && wanted_fd('w', fd) ? fault('w') : 0;
    return f < 0 ? -1 : real(fd, data, f ? (n + 1) / 2 : n);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    REAL(pwrite64);
    int f = wanted_fd('w', fd) ? fault('w') : 0;
    return f < 0 ? -1 : real(fd, data, f ? (n + 1) / 2 : n, at);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite64(fd, data, n, at); }
int fsync(int fd)
{
    REAL(fsync);
    return wanted_fd('f', fd) && fault('f') < 0 ? -1 : real(fd);
}
int fdatasync(int fd)
{
    REAL(fdatasync);
    return wanted_fd('f', fd) && fault('f') < 0 ? -1 : real(fd);
}
int rename(const char *from, const char *to)
{
    REAL(rename);
    return wanted('r', to) && fault('r') < 0 ? -1 : real(from, to);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    REAL(renameat2);
    return wanted('r', to) && fault('r') < 0 ? -1 : real(a, from, b, to, flags);
}
int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    struct stat st; /* one that is there already is nobody's loss */
    return stat(path, &st) != 0 && wanted('r', path) && fault('r') < 0 ? -1 : real(path, mode);
}
int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64);
    return wanted_fd('r', fd) && fault('r') < 0 ? -1 : real(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
