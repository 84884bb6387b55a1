/* filter.c - the filters of the sampling distribution; sail/sampler.h states them.
 *
 * `order` holds the ids that are still kept; what is dropped gets p = 0 at once. Full sorts are avoided: only what the
 * cheap bounds leave over is sorted. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "../sail/sampler.h"

/* Does a come before b? By key, the other way round where `down`; equal keys by id. */
static bool before(const double *key, int32_t a, int32_t b, bool down)
{
    if (key[a] < key[b])
        return !down;
    if (key[b] < key[a])
        return down;
    return a < b;
}

/* Restore the heap whose root comes last in the order. */
static void sink(const double *key, int32_t *order, int64_t n, int64_t i, bool down)
{
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(key, order[child], order[child + 1], down))
            child++;
        if (!before(key, order[i], order[child], down))
            return;
        const int32_t t = order[i];
        order[i] = order[child];
        order[child] = t;
    }
}

static void make_heap(const double *key, int32_t *order, int64_t n, bool down)
{
    for (int64_t i = n / 2; i-- > 0;)
        sink(key, order, n, i, down);
}

/* Least first; heap sort, since it needs no memory and has no bad case. */
static void sort(const double *key, int32_t *order, int64_t n)
{
    make_heap(key, order, n, false);
    for (int64_t last = n; last-- > 1;) {
        const int32_t t = order[0];
        order[0] = order[last];
        order[last] = t;
        sink(key, order, last, 0, false);
    }
}

/* The k-th largest of key[0..n), 1 <= k <= n: the root of a heap of the k largest. */
static double kth_largest(const double *key, int64_t n, int64_t k, int32_t *heap)
{
    for (int64_t i = 0; i < k; i++)
        heap[i] = (int32_t)i;
    make_heap(key, heap, k, true);
    for (int64_t i = k; i < n; i++)
        if (key[i] > key[heap[0]]) {
            heap[0] = (int32_t)i;
            sink(key, heap, k, 0, true);
        }
    return key[heap[0]];
}

static void divide(double *p, const int32_t *order, int64_t n, double total)
{
    for (int64_t i = 0; i < n; i++)
        p[order[i]] /= total;
}

/* Keep those of at least `least`; their new sum is 1. */
static int64_t keep_from(double *p, int32_t *order, int64_t n, double least)
{
    int64_t kept = 0;
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t id = order[i];
        if (p[id] >= least) {
            order[kept++] = id;
            total += p[id];
        } else {
            p[id] = 0;
        }
    }
    divide(p, order, kept, total);
    return kept;
}

/* Keep order[first..end) */
static int64_t keep_range(double *p, int32_t *order, int64_t n, int64_t first, int64_t end)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        if (i < first || i >= end)
            p[order[i]] = 0;
    for (int64_t i = first; i < end; i++) {
        total += p[order[i]];
        order[i - first] = order[i];
    }
    divide(p, order, end - first, total);
    return end - first;
}

static int64_t top_p(double *p, int32_t *order, int64_t n, double mass)
{
    /* n tokens below (1 - mass) / n weigh less than 1 - mass together: they go whatever the others are. */
    const double surely = (1 - mass) / (double)n;
    double dropped = 0;
    int64_t left = 0, first = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t id = order[i];
        if (p[id] < surely) {
            dropped += p[id];
            p[id] = 0;
        } else {
            order[left++] = id;
        }
    }
    sort(p, order, left);
    while (first < left - 1 && (dropped += p[order[first]]) <= 1 - mass)
        first++;
    return keep_range(p, order, left, first, left);
}

/* Meister et al. 2023. In the order of p the surprises fall, so that those nearest the entropy are a range: it grows to
 * the nearer side until it has the mass, and takes in what lies exactly as far as the last one. */
static int64_t typical(double *p, int32_t *order, int64_t n, double mass)
{
    double entropy = 0, total = 0, distance = 0;
    for (int64_t i = 0; i < n; i++)
        entropy -= p[order[i]] > 0 ? p[order[i]] * log(p[order[i]]) : 0;
    sort(p, order, n);
    int64_t first = 0;
    while (first < n && -log(p[order[first]]) > entropy)
        first++;
    int64_t end = first; /* order[first..end) is kept; what is below first is more surprising, from end on less */
    while (first > 0 || end < n) {
        const double low = first > 0 ? fabs(-log(p[order[first - 1]]) - entropy) : INFINITY;
        const double high = end < n ? fabs(-log(p[order[end]]) - entropy) : INFINITY;
        const double nearer = low < high ? low : high;
        if (end > first && total >= mass && nearer > distance)
            break;
        distance = nearer;
        total += p[low < high ? order[--first] : order[end++]];
    }
    return keep_range(p, order, n, first, end);
}

static void penalise(double *p, int64_t n, double penalty, const int32_t *history, int64_t history_n, int32_t *scratch)
{
    for (int64_t i = 0; i < n; i++)
        scratch[i] = 0; /* 1: this id was met */
    for (int64_t i = 0; i < history_n; i++) {
        const int32_t id = history[i];
        if (id < 0 || id >= n || scratch[id])
            continue;
        scratch[id] = 1;
        p[id] = p[id] < 0 ? p[id] * penalty : p[id] / penalty;
    }
}

int64_t sail_filter(double *p, int64_t n, const sail_filter_params *o, const int32_t *history, int64_t history_n,
                    int32_t *order)
{
    if (n < 1)
        return 0;
    if (o->penalty > 0 && o->penalty != 1 && history_n > 0)
        penalise(p, n, o->penalty, history, history_n, order);
    int64_t best = 0, kept = 0;
    for (int64_t i = 1; i < n; i++)
        best = p[i] > p[best] ? i : best;
    const double max = p[best];
    if (!isfinite(max))
        return 0;
    if (!(o->temperature > 0)) {
        for (int64_t i = 0; i < n; i++)
            p[i] = i == best;
        return 1;
    }
    const double least = o->top_k > 0 && o->top_k < n ? kth_largest(p, n, o->top_k, order) : -INFINITY;
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        p[i] = p[i] >= least ? exp((p[i] - max) / o->temperature) : 0;
        total += p[i];
        if (p[i] > 0)
            order[kept++] = (int32_t)i;
    }
    divide(p, order, kept, total);
    if (o->top_p < 1)
        kept = top_p(p, order, kept, o->top_p);
    if (o->min_p > 0)
        kept = keep_from(p, order, kept, o->min_p * p[best]);
    if (o->typical > 0 && o->typical < 1)
        kept = typical(p, order, kept, o->typical);
    return kept;
}

int64_t sail_filter_draw(const double *p, int64_t n, double u)
{
    double sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(p[i] > 0))
            continue;
        sum += p[i];
        last = i;
        if (sum > u)
            break;
    }
    return last;
}
