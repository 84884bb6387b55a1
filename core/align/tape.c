/* tape.c - storage, leaves, reading and the backward pass of the tape; the operators are in tape_ops.c and
 * tape_shape.c. */
#include "coupling.h"
#include "tape_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *sail__tape_domain_name(sail_domain d)
{
    static const char *const names[] = {"SCALAR", "PAIR", "RESPONSE", "TOKEN", "ANY"};
    return d >= SAIL_SCALAR && d <= SAIL_ANY ? names[d] : "no domain";
}

int64_t sail__tape_domain_length(const sail_tape *t, sail_domain d)
{
    if (d == SAIL_SCALAR)
        return 1;
    if (!t->layout || d == SAIL_ANY)
        return -1;
    return d == SAIL_PAIR ? t->layout->pairs : d == SAIL_RESPONSE ? t->layout->responses : t->layout->tokens;
}

static void start(sail_tape *t, const sail_layout *layout)
{
    t->n = 0;
    t->layout = layout;
    t->read = false;
    t->err = (sail_err){.code = SAIL_OK};
    int64_t longest = 1;
    for (sail_domain d = SAIL_PAIR; layout && d <= SAIL_TOKEN; d++) {
        int64_t n = sail__tape_domain_length(t, d);
        longest = n > longest ? n : longest;
    }
    t->zeros = sail__arena_array(t->arena, (size_t)longest, sizeof(double));
    if (!t->zeros)
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for a tape of %lld tokens", (long long)longest);
}

sail_tape *sail_tape_new(const sail_layout *layout)
{
    sail_tape *t = sail__calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->arena = sail__arena_new();
    if (t->arena)
        start(t, layout);
    if (!t->arena || !t->zeros) {
        sail_tape_free(t);
        return NULL;
    }
    return t;
}

void sail_tape_free(sail_tape *t)
{
    if (!t)
        return;
    sail__arena_free(t->arena);
    sail__free(t->nodes);
    sail__free(t);
}

void sail_tape_reset(sail_tape *t, const sail_layout *layout)
{
    sail__arena_reset(t->arena);
    start(t, layout);
}

sail_code sail_tape_status(const sail_tape *t)
{
    return t->err.code;
}

const char *sail_tape_message(const sail_tape *t)
{
    return t->err.message;
}

void sail_tape_fail(sail_tape *t, sail_code code, const char *fmt, ...)
{
    if (t->err.code != SAIL_OK)
        return; /* the first error is the cause of the others */
    char text[sizeof t->err.message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sail_fail(&t->err, code, "%s", text);
}

sail__tape_node *sail__tape_at(const sail_tape *t, sail_var v)
{
    return v.id > 0 && (size_t)v.id < t->n ? &t->nodes[v.id] : NULL;
}

sail__tape_node *sail__tape_push(sail_tape *t, sail_domain d, int64_t n, sail_var a, sail_var b, sail__tape_back *back,
                                 sail_var *out)
{
    *out = (sail_var){-1};
    if (t->err.code != SAIL_OK)
        return NULL;
    int64_t want = sail__tape_domain_length(t, d);
    if (d != SAIL_ANY && want < 0) {
        sail_tape_fail(t, SAIL_E_SHAPE,
                       "a value of domain %s on a tape without a layout: only SCALAR and ANY exist there",
                       sail__tape_domain_name(d));
        return NULL;
    }
    if (n < 0 || (want >= 0 && n != want)) {
        sail_tape_fail(t, SAIL_E_SHAPE, "a value of domain %s has %lld numbers, not %lld", sail__tape_domain_name(d),
                       (long long)want, (long long)n);
        return NULL;
    }
    sail_err err;
    if (t->n >= INT32_MAX || sail__grow(&t->nodes, &t->cap, t->n + 2, sizeof *t->nodes, &err) != SAIL_OK) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for value %zu of a tape", t->n + 1);
        return NULL;
    }
    if (t->n == 0)
        t->nodes[t->n++] = (sail__tape_node){.a = -1, .b = -1}; /* number 0 is nobody's */
    double *store = sail__arena_array(t->arena, 2 * (size_t)n + 1, sizeof(double));
    if (!store) {
        sail_tape_fail(t, SAIL_E_NOMEM, "no memory for %lld numbers on a tape", (long long)n);
        return NULL;
    }
    const sail__tape_node *na = sail__tape_at(t, a), *nb = sail__tape_at(t, b);
    bool needs = (na && na->needs) || (nb && nb->needs), mixed = (na && na->mix) || (nb && nb->mix);
    t->nodes[t->n] = (sail__tape_node){.domain = d,
                                       .needs = needs,
                                       .mix = mixed ? SAIL__MIX_COUPLED : SAIL__MIX_NONE,
                                       .a = a.id,
                                       .b = b.id,
                                       .n = n,
                                       .value = store,
                                       .grad = store + n,
                                       .back = needs ? back : NULL};
    *out = (sail_var){(int32_t)t->n};
    return &t->nodes[t->n++];
}

static sail_var leaf(sail_tape *t, sail_domain d, int64_t n, const double *values, bool needs)
{
    sail_var out, none = {-1};
    sail__tape_node *node = sail__tape_push(t, d, n, none, none, NULL, &out);
    if (node) {
        node->needs = needs;
        if (n)
            memcpy(node->value, values, (size_t)n * sizeof *values);
    }
    return out;
}

sail_var sail_tape_leaf(sail_tape *t, sail_domain d, int64_t n, const double *values)
{
    return leaf(t, d, n, values, true);
}

sail_var sail_tape_constant(sail_tape *t, sail_domain d, int64_t n, const double *values)
{
    return leaf(t, d, n, values, false);
}

sail_var sail_number(sail_tape *t, double value)
{
    return leaf(t, SAIL_SCALAR, 1, &value, false);
}

const double *sail_value_of(const sail_tape *t, sail_var v)
{
    const sail__tape_node *n = sail__tape_at(t, v);
    return n ? n->value : t->zeros;
}

const double *sail_gradient_of(const sail_tape *t, sail_var v)
{
    const sail__tape_node *n = sail__tape_at(t, v);
    return n ? n->grad : t->zeros;
}

int64_t sail_length_of(const sail_tape *t, sail_var v)
{
    const sail__tape_node *n = sail__tape_at(t, v);
    return n ? n->n : 0;
}

sail_domain sail_domain_of(const sail_tape *t, sail_var v)
{
    const sail__tape_node *n = sail__tape_at(t, v);
    return n ? n->domain : SAIL_SCALAR;
}

sail_code sail_tape_backward(sail_tape *t, sail_var root)
{
    SAIL_TRY(t->err.code);
    sail__tape_node *r = sail__tape_at(t, root);
    if (!r || r->domain != SAIL_SCALAR) {
        sail_tape_fail(t, SAIL_E_SHAPE, "derivatives are taken of a SCALAR, not of %s: reduce it with sum or mean",
                       r ? sail__tape_domain_name(r->domain) : "a value that does not exist");
        return t->err.code;
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->nodes[i].n)
            memset(t->nodes[i].grad, 0, (size_t)t->nodes[i].n * sizeof(double));
    r->grad[0] = 1;
    for (int32_t i = root.id; i >= 0; i--)
        if (t->nodes[i].back)
            t->nodes[i].back(t, &t->nodes[i]);
    return SAIL_OK;
}

/* ---- coupling ---- */
bool sail__tape_couples(const sail_tape *t, sail_var root)
{
    const sail__tape_node *n = sail__tape_at(t, root);
    return t->read || (n && n->mix == SAIL__MIX_COUPLED);
}

void sail__tape_read(sail_tape *t, sail_var v, bool together)
{
    const sail__tape_node *n = sail__tape_at(t, v);
    t->read = t->read || (n && (n->mix != SAIL__MIX_NONE || (together && n->domain != SAIL_SCALAR)));
}
