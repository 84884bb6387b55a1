/* problems.c - a recipe's problems in the order of its lines. */
#include "recipe_internal.h"

#include <stdlib.h>
#include <string.h>

/* "FILE:12" as file length and line. */
static long split_where(const char *where, size_t *file)
{
    const char *colon = strrchr(where, ':');
    char *end = NULL;
    long line = colon ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || end == colon + 1 || *end)
        line = 0, colon = where + strlen(where);
    *file = (size_t)(colon - where);
    return line;
}

static int by_place(const void *x, const void *y)
{
    const sail_problem *a = x, *b = y;
    size_t na, nb;
    long la = split_where(a->where, &na), lb = split_where(b->where, &nb);
    int c = strncmp(a->where, b->where, na < nb ? na : nb);
    if (c == 0)
        c = (na > nb) - (na < nb);
    if (c == 0)
        c = (la > lb) - (la < lb);
    if (c == 0)
        c = strcmp(a->path, b->path);
    return c ? c : strcmp(a->message, b->message);
}

bool sail__problems_told(const sail_problems *p, const char *message)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->items[i].message, message))
            return true;
    return false;
}

void sail__problems_sort(sail_problems *p)
{
    if (p->n < 2)
        return;
    qsort(p->items, p->n, sizeof *p->items, by_place);
    size_t kept = 1;
    for (size_t i = 1; i < p->n; i++)
        if (by_place(&p->items[i], &p->items[kept - 1]) != 0)
            p->items[kept++] = p->items[i];
    p->n = kept;
}
