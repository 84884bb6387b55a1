/* malloc.c - LD_PRELOAD: the k-th malloc, calloc or realloc of the process fails (FAULT_ALLOC=k), also those of the libraries
 * that do not ask the core: jansson, libyaml, SQLite, the loader. FAULT_ALLOC=0: none fails, and their number is the last line
 * on standard error. Only with glibc and without a sanitizer, which has a malloc of its own. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static atomic_long calls, at = -1;

static int fails(void)
{
    if (atomic_load(&at) < 0) {
        const char *s = getenv("FAULT_ALLOC");
        atomic_store(&at, s ? atol(s) : 0);
    }
    if (atomic_fetch_add(&calls, 1) + 1 != atomic_load(&at))
        return 0;
    errno = ENOMEM;
    return 1;
}

__attribute__((destructor)) static void tell(void)
{
    char line[32];
    int n = snprintf(line, sizeof line, "%ld\n", atomic_load(&calls));
    if (atomic_load(&at) == 0 && n > 0 && write(2, line, (size_t)n) != n)
        _exit(1);
}

#pragma GCC visibility push(default)
void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return fails() ? NULL : __libc_realloc(p, n); }
