/* tape_shape.c - operators of the tape that choose, move or are given numbers. */
#include "tape_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool present(sail_tape *t, sail_var v, const char *name)
{
    if (sail__tape_at(t, v))
        return true;
    sail_tape_fail(t, SAIL_E_ARG, "%s: the operand is not on this tape", name);
    return false;
}

/* ---- two operands that spread like those of the table ---- */
static int64_t stride(const sail__tape_node *n)
{
    return n->domain == SAIL_SCALAR ? 0 : 1;
}

static sail__tape_node *push_two(sail_tape *t, const char *name, sail_var va, sail_var vb, sail__tape_back *back,
                                 sail_var *out)
{
    *out = (sail_var){-1};
    if (!present(t, va, name) || !present(t, vb, name))
        return NULL;
    const sail__tape_node *a = sail__tape_at(t, va), *b = sail__tape_at(t, vb);
    const sail__tape_node *shape = a->domain == SAIL_SCALAR ? b : a, *other = shape == a ? b : a;
    if (other->domain != SAIL_SCALAR && (other->domain != shape->domain || other->n != shape->n)) {
        sail_tape_fail(t, SAIL_E_SHAPE,
                       "%s: operands of domain %s (%lld) and %s (%lld) do not fit: both alike, or one a SCALAR", name,
                       sail__tape_domain_name(a->domain), (long long)a->n, sail__tape_domain_name(b->domain),
                       (long long)b->n);
        return NULL;
    }
    return sail__tape_push(t, shape->domain, shape->n, va, vb, back, out);
}

static void select_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a], *b = &t->nodes[n->b];
    for (int64_t i = 0; i < n->n; i++) {
        const sail__tape_node *x = n->mask[i] ? a : b;
        x->grad[i * stride(x)] += n->grad[i];
    }
}

sail_var sail_select(sail_tape *t, const uint8_t *mask, sail_var a, sail_var b)
{
    sail_var out;
    sail__tape_node *n = push_two(t, "select", a, b, select_back, &out);
    if (!n)
        return out;
    uint8_t *copy = sail__arena_alloc(t->arena, (size_t)n->n + 1);
    if (!copy) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for a mask of %lld", (long long)n->n);
        return (sail_var){-1};
    }
    memcpy(copy, mask, (size_t)n->n);
    n->mask = copy;
    for (int64_t i = 0; i < n->n; i++) {
        const sail__tape_node *x = sail__tape_at(t, mask[i] ? a : b);
        n->value[i] = x->value[i * stride(x)];
    }
    return out;
}

static void lerp_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a], *b = &t->nodes[n->b];
    for (int64_t i = 0; i < n->n; i++) {
        if (n->grad[i] == 0)
            continue;
        a->grad[i * stride(a)] += n->grad[i] * (1 - n->p);
        b->grad[i * stride(b)] += n->grad[i] * n->p;
    }
}

sail_var sail_lerp(sail_tape *t, sail_var a, sail_var b, double w)
{
    sail_var out;
    sail__tape_node *n = push_two(t, "lerp", a, b, lerp_back, &out);
    if (!n)
        return out;
    const sail__tape_node *x = sail__tape_at(t, a), *y = sail__tape_at(t, b);
    n->p = w;
    if (x->mix == SAIL__MIX_SUM && y->mix == SAIL__MIX_SUM)
        n->mix = SAIL__MIX_SUM;
    for (int64_t i = 0; i < n->n; i++) {
        double va = x->value[i * stride(x)], vb = y->value[i * stride(y)];
        n->value[i] = w == 0 ? va : w == 1 ? vb : (1 - w) * va + w * vb; /* an infinity of weight 0 does not count */
    }
    return out;
}

/* ---- a number as parameter ---- */
static void clamp_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a];
    for (int64_t i = 0; i < n->n; i++)
        if (a->value[i] >= n->p && a->value[i] <= n->q)
            a->grad[i] += n->grad[i];
}

sail_var sail_clamp(sail_tape *t, sail_var a, double low, double high)
{
    sail_var out = {-1}, none = {-1};
    if (!present(t, a, "clamp"))
        return out;
    if (!(low <= high)) {
        sail_tape_fail(t, SAIL_E_ARG, "clamp: the lower bound %g is not below the upper one %g", low, high);
        return out;
    }
    const sail__tape_node *x = sail__tape_at(t, a);
    sail__tape_node *n = sail__tape_push(t, x->domain, x->n, a, none, clamp_back, &out);
    if (!n)
        return out;
    x = sail__tape_at(t, a);
    n->p = low;
    n->q = high;
    for (int64_t i = 0; i < n->n; i++)
        n->value[i] = x->value[i] < low ? low : x->value[i] > high ? high : x->value[i];
    return out;
}

static void power_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a];
    for (int64_t i = 0; i < n->n; i++)
        if (n->grad[i] != 0 && n->p != 0)
            a->grad[i] += n->grad[i] * n->p * pow(a->value[i], n->p - 1);
}

sail_var sail_power(sail_tape *t, sail_var a, double exponent)
{
    sail_var out = {-1}, none = {-1};
    if (!present(t, a, "power"))
        return out;
    const sail__tape_node *x = sail__tape_at(t, a);
    sail__tape_node *n = sail__tape_push(t, x->domain, x->n, a, none, power_back, &out);
    if (!n)
        return out;
    x = sail__tape_at(t, a);
    n->p = exponent;
    for (int64_t i = 0; i < n->n; i++)
        n->value[i] = pow(x->value[i], exponent);
    return out;
}

/* ---- moving elements ---- */
static const int64_t *keep_index(sail_tape *t, const char *name, const int64_t *index, int64_t n, int64_t limit)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= limit) {
            sail_tape_fail(t, SAIL_E_SHAPE, "%s: index %lld at %lld lies outside 0..%lld", name, (long long)index[i],
                           (long long)i, (long long)limit - 1);
            return NULL;
        }
    int64_t *copy = sail__arena_array(t->arena, (size_t)n + 1, sizeof *copy);
    if (!copy) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for %lld indices", (long long)n);
        return NULL;
    }
    if (n)
        memcpy(copy, index, (size_t)n * sizeof *copy);
    return copy;
}

static void gather_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a];
    for (int64_t i = 0; i < n->n; i++)
        a->grad[n->index[i]] += n->grad[i];
}

/* The pair of element i; -1: of none. */
static int64_t pair_of(const sail_tape *t, sail_domain d, int64_t i)
{
    const sail_layout *l = t->layout;
    if (!l || d == SAIL_SCALAR || d == SAIL_ANY || d == SAIL_PAIR)
        return d == SAIL_PAIR ? i : -1;
    for (int step = d == SAIL_TOKEN ? 2 : 1; step > 0; step--) {
        const int64_t *bound = step == 2 ? l->token_of_response : l->response_of_pair;
        int64_t low = 0, high = step == 2 ? l->responses : l->pairs;
        while (high - low > 1) { /* bound[low] <= i < bound[high] */
            int64_t mid = low + (high - low) / 2;
            *(bound[mid] <= i ? &low : &high) = mid;
        }
        i = low;
    }
    return i;
}

/* Whether element i of `to` is of another pair than element j of `from`, where both are of one. */
static bool crosses(const sail_tape *t, sail_domain to, int64_t i, sail_domain from, int64_t j)
{
    const int64_t a = pair_of(t, to, i), b = pair_of(t, from, j);
    return a >= 0 && b >= 0 && a != b;
}

static sail_var gather(sail_tape *t, const char *name, sail_var v, const int64_t *index, sail_domain d, int64_t n)
{
    sail_var out = {-1}, none = {-1};
    if (!present(t, v, name))
        return out;
    const int64_t *copy = keep_index(t, name, index, n, sail_length_of(t, v));
    if (!copy)
        return out;
    sail__tape_node *y = sail__tape_push(t, d, n, v, none, gather_back, &out);
    if (!y)
        return out;
    const sail__tape_node *x = sail__tape_at(t, v);
    y->index = copy;
    for (int64_t i = 0; i < n; i++) {
        y->value[i] = x->value[copy[i]];
        if (y->mix == SAIL__MIX_NONE && crosses(t, d, i, x->domain, copy[i]))
            y->mix = SAIL__MIX_COUPLED;
    }
    return out;
}

sail_var sail_gather(sail_tape *t, sail_var v, const int64_t *index, sail_domain d, int64_t n)
{
    return gather(t, "gather", v, index, d, n);
}

static void scatter_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a];
    for (int64_t i = 0; i < a->n; i++)
        a->grad[i] += n->grad[n->index[i]];
}

sail_var sail_scatter(sail_tape *t, sail_var v, const int64_t *index, sail_domain d, int64_t n)
{
    sail_var out = {-1}, none = {-1};
    if (!present(t, v, "scatter"))
        return out;
    const int64_t *copy = keep_index(t, "scatter", index, sail_length_of(t, v), n);
    if (!copy)
        return out;
    sail__tape_node *y = sail__tape_push(t, d, n, v, none, scatter_back, &out);
    if (!y)
        return out;
    const sail__tape_node *x = sail__tape_at(t, v);
    y->index = copy;
    for (int64_t i = 0; i < x->n; i++) {
        y->value[copy[i]] += x->value[i];
        if (y->mix == SAIL__MIX_NONE && crosses(t, d, copy[i], x->domain, i))
            y->mix = SAIL__MIX_COUPLED;
    }
    return out;
}

typedef struct entry {
    double value;
    int64_t from;
} entry;

static int by_value(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    int nan_a = isnan(a->value), nan_b = isnan(b->value); /* NaN last, so that the order is one */
    if (nan_a != nan_b)
        return nan_a - nan_b;
    if (a->value != b->value && !nan_a)
        return a->value < b->value ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from; /* stable */
}

sail_var sail_sort(sail_tape *t, sail_var v)
{
    sail_var none = {-1};
    if (!present(t, v, "sort"))
        return none;
    const sail__tape_node *x = sail__tape_at(t, v);
    entry *rows = sail__arena_array(t->arena, (size_t)x->n + 1, sizeof *rows);
    int64_t *index = sail__arena_array(t->arena, (size_t)x->n + 1, sizeof *index);
    if (!rows || !index) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory to sort %lld numbers", (long long)x->n);
        return none;
    }
    for (int64_t i = 0; i < x->n; i++)
        rows[i] = (entry){x->value[i], i};
    qsort(rows, (size_t)x->n, sizeof *rows, by_value);
    for (int64_t i = 0; i < x->n; i++)
        index[i] = rows[i].from;
    sail_var out = gather(t, "sort", v, index, x->domain, x->n);
    sail__tape_node *y = sail__tape_at(t, out);
    if (y && y->domain != SAIL_SCALAR)
        y->mix = SAIL__MIX_COUPLED;
    return out;
}

/* ---- moving between domains ---- */
static sail_var gather_domain(sail_tape *t, const char *name, sail_var v, sail_domain from, sail_domain to,
                              const int64_t *bound, int slot)
{
    sail_var none = {-1};
    const sail__tape_node *x = sail__tape_at(t, v);
    if (!present(t, v, name))
        return none;
    int64_t n = sail__tape_domain_length(t, to);
    if (x->domain != from || n < 0) {
        sail_tape_fail(t, SAIL_E_SHAPE, "%s takes a value of domain %s, not %s", name, sail__tape_domain_name(from),
                       sail__tape_domain_name(x->domain));
        return none;
    }
    int64_t *index = sail__arena_array(t->arena, (size_t)n + 1, sizeof *index);
    if (!index) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for %lld indices", (long long)n);
        return none;
    }
    if (slot >= 0) {
        for (int64_t i = 0; i < n; i++) {
            index[i] = bound[i] + slot;
            if (index[i] >= bound[i + 1]) {
                sail_tape_fail(t, SAIL_E_SHAPE, "slot_of: pair %lld has %lld responses, so no slot %d", (long long)i,
                               (long long)(bound[i + 1] - bound[i]), slot);
                return none;
            }
        }
    } else {
        for (int64_t i = 0; i < x->n; i++)
            for (int64_t j = bound[i]; j < bound[i + 1]; j++)
                index[j] = i;
    }
    return gather(t, name, v, index, to, n);
}

sail_var sail_slot_of(sail_tape *t, sail_var v, int slot)
{
    if (slot < 0) {
        sail_tape_fail(t, SAIL_E_ARG, "slot_of: slots count from 0, not %d", slot);
        return (sail_var){-1};
    }
    return gather_domain(t, "slot_of", v, SAIL_RESPONSE, SAIL_PAIR, t->layout ? t->layout->response_of_pair : NULL,
                         slot);
}

sail_var sail_spread(sail_tape *t, sail_var v, sail_domain to)
{
    if (to == SAIL_RESPONSE)
        return gather_domain(t, "spread to RESPONSE", v, SAIL_PAIR, to, t->layout ? t->layout->response_of_pair : NULL,
                             -1);
    if (to == SAIL_TOKEN)
        return gather_domain(t, "spread to TOKEN", v, SAIL_RESPONSE, to,
                             t->layout ? t->layout->token_of_response : NULL, -1);
    sail_tape_fail(t, SAIL_E_ARG, "spread goes from PAIR to RESPONSE or from RESPONSE to TOKEN, not to %s",
                   sail__tape_domain_name(to));
    return (sail_var){-1};
}
