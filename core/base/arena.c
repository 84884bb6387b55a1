/* arena.c - memory that is freed all at once: a chain of blocks, each larger than the one before. */
#include <stdio.h>
#include <string.h>

#include "base.h"

enum { ALIGN = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct block {
    struct block *next;
    size_t size, used; /* of the bytes that follow */
    _Alignas(ALIGN) unsigned char bytes[];
};

struct sail_arena {
    struct block *first, *now; /* blocks after `now` are empty (left over from before a reset) */
    size_t reserved;
    bool oom;
};

sail_arena *sail__arena_new(void)
{
    return sail__calloc(1, sizeof(sail_arena));
}

void sail__arena_free(sail_arena *a)
{
    if (!a)
        return;
    for (struct block *b = a->first, *next; b; b = next) {
        next = b->next;
        sail__free(b);
    }
    sail__free(a);
}

void sail__arena_reset(sail_arena *a)
{
    for (struct block *b = a->first; b; b = b->next)
        b->used = 0;
    a->now = a->first;
    a->oom = false;
}

static struct block *add_block(sail_arena *a, size_t need)
{
    size_t size = a->reserved < FIRST_BLOCK ? FIRST_BLOCK : a->reserved;
    if (size > LARGEST_BLOCK)
        size = LARGEST_BLOCK;
    if (size < need)
        size = need;
    if (size > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *b = sail__malloc(sizeof *b + size);
    if (!b)
        return NULL;
    b->size = size;
    b->used = 0;
    struct block **at = a->now ? &a->now->next : &a->first;
    b->next = *at;
    *at = b;
    a->reserved += sizeof *b + size;
    return b;
}

static void *refuse(sail_arena *a)
{
    a->oom = true;
    return NULL;
}

void *sail__arena_alloc(sail_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2 || sail__alloc_must_fail())
        return refuse(a);
    size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (need == 0)
        need = ALIGN;
    struct block *b = a->now;
    while (b && b->size - b->used < need)
        b = b->next;
    if (!b && !(b = add_block(a, need)))
        return refuse(a);
    if (b != a->now) {
        /* a block made for one large object is full at once: small ones go on in the current block */
        bool whole = b->size == need && a->now && a->now->size - a->now->used > need / 8;
        if (!whole)
            a->now = b;
    }
    void *p = b->bytes + b->used;
    b->used += need;
    return memset(p, 0, bytes);
}

void *sail__arena_array(sail_arena *a, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? refuse(a) : sail__arena_alloc(a, bytes);
}

char *sail__arena_strndup(sail_arena *a, const char *s, size_t n)
{
    char *copy = n < SIZE_MAX ? sail__arena_alloc(a, n + 1) : refuse(a);
    if (copy && n)
        memcpy(copy, s, n);
    return copy;
}

char *sail__arena_strdup(sail_arena *a, const char *s)
{
    return sail__arena_strndup(a, s, strlen(s));
}

char *sail__arena_printf(sail_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : sail__arena_alloc(a, (size_t)n + 1);
    if (!s)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

size_t sail__arena_bytes(const sail_arena *a)
{
    return a->reserved;
}

bool sail__arena_oom(const sail_arena *a)
{
    return a->oom;
}
