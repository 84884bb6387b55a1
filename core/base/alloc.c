/* alloc.c - malloc and its kin, with a failure that tests can order.
 *
 * The countdown below is the one documented exception to "no mutable globals" (tools/check-layers allows it by name):
 * an allocator has no context to hang it off, and it is only ever set by tests. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

/* > 0: that many allocations until one fails; 0: none fails; < 0: not read from the environment yet. */
static atomic_long alloc_countdown = -1;

long sail__alloc_fail_at(long k)
{
    long left = atomic_exchange(&alloc_countdown, k > 0 ? k : 0);
    return left > 0 ? left : 0;
}

bool sail__alloc_must_fail(void)
{
    long left = atomic_load_explicit(&alloc_countdown, memory_order_relaxed);
    if (left == 0)
        return false;
    if (left < 0) {
        const char *s = getenv("SAIL_FAIL_ALLOC");
        long k = s ? strtol(s, NULL, 10) : 0;
        atomic_compare_exchange_strong(&alloc_countdown, &left, k > 0 ? k : 0);
        left = atomic_load(&alloc_countdown);
    }
    while (left > 0)
        if (atomic_compare_exchange_weak(&alloc_countdown, &left, left - 1))
            return left == 1;
    return false;
}

void *sail__malloc(size_t bytes)
{
    return sail__alloc_must_fail() ? NULL : malloc(bytes ? bytes : 1);
}

void *sail__calloc(size_t count, size_t size)
{
    if (count == 0 || size == 0)
        count = size = 1;
    return sail__alloc_must_fail() ? NULL : calloc(count, size);
}

void *sail__realloc(void *p, size_t bytes)
{
    return sail__alloc_must_fail() ? NULL : realloc(p, bytes ? bytes : 1);
}

void sail__free(void *p)
{
    free(p);
}

char *sail__strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = sail__malloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

sail_code sail__grow(void *items, size_t *cap, size_t need, size_t size, sail_err *err)
{
    if (need <= *cap)
        return SAIL_OK;
    size_t bytes, n = *cap < 8 ? 8 : *cap;
    while (n < need)
        if (__builtin_add_overflow(n, n / 2, &n))
            n = need;
    if (__builtin_mul_overflow(n, size, &bytes))
        return sail_fail(err, SAIL_E_NOMEM, "%zu elements of %zu bytes do not fit into memory", n, size);
    void *old;
    memcpy(&old, items, sizeof old);
    void *p = sail__realloc(old, bytes);
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %zu elements of %zu bytes", n, size);
    memcpy(items, &p, sizeof p);
    *cap = n;
    return SAIL_OK;
}
