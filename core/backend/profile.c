/* profile.c - kernels' times gathered over parts of a run, as a table and as JSON. */
#include "profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/base.h"

/* ---- what crosses ---- */

static void counters_of(sail_runtime *rt, sail_counters *c)
{
    memset(c, 0, sizeof *c);
    if (rt->backend->counters)
        rt->backend->counters(rt->device, c);
}

void sail__traffic_now(sail_runtime *rt, sail__traffic *out)
{
    sail_counters c;
    counters_of(rt, &c);
    *out = (sail__traffic){c.uploads, c.downloads, c.upload_bytes, c.download_bytes};
}

void sail__traffic_add(sail__traffic *to, const sail__traffic *a, const sail__traffic *b)
{
    to->uploads += b->uploads - a->uploads;
    to->downloads += b->downloads - a->downloads;
    to->upload_bytes += b->upload_bytes - a->upload_bytes;
    to->download_bytes += b->download_bytes - a->download_bytes;
}

void sail__profile_part_add(sail__profile *p, const char *name, double n, const sail__traffic *t)
{
    static const sail__traffic none = {0};
    int i = 0;
    while (i < p->n_parts && strcmp(p->parts[i].name, name) != 0)
        i++;
    if (i == SAIL__PROFILE_PARTS)
        return;
    if (i == p->n_parts)
        p->parts[p->n_parts++] = (sail__profile_part){.name = name};
    p->parts[i].n += n;
    sail__traffic_add(&p->parts[i].traffic, &none, t);
}

/* ---- gathering ---- */

/* Kernels since the last look, into p->taken. */
static sail_code take(sail__profile *p, int *n, sail_err *err)
{
    const sail_backend *b = p->rt->backend;
    *n = 0;
    SAIL_TRY(b->sync(p->rt->device, err));
    if (b->kernels) {
        do {
            SAIL_TRY(sail__grow(&p->taken, &p->cap_taken, (size_t)*n + 64, sizeof *p->taken, err));
            b->kernels(p->rt->device, p->taken, (int)p->cap_taken, n);
        } while ((size_t)*n > p->cap_taken);
        return SAIL_OK;
    }
    double seconds[SAIL_OP_COUNT] = {0};
    uint64_t calls[SAIL_OP_COUNT] = {0};
    if (b->profile)
        b->profile(p->rt->device, seconds, calls);
    SAIL_TRY(sail__grow(&p->taken, &p->cap_taken, SAIL_OP_COUNT, sizeof *p->taken, err));
    for (int op = 0; op < SAIL_OP_COUNT; op++)
        if (calls[op]) {
            sail_kernel_use *u = &p->taken[(*n)++];
            *u = (sail_kernel_use){.op = (sail_op)op, .calls = calls[op], .seconds = seconds[op]};
            snprintf(u->name, sizeof u->name, "%s", sail_op_name((sail_op)op));
        }
    return SAIL_OK;
}

sail_code sail__profile_open(sail__profile *p, sail_runtime *rt, sail_err *err)
{
    *p = (sail__profile){.rt = rt};
    if (rt->backend->limits)
        SAIL_TRY(rt->backend->limits(rt->device, &p->flops, &p->bytes, err));
    return rt->backend->profiling ? rt->backend->profiling(rt->device, true, err) : SAIL_OK;
}

void sail__profile_close(sail__profile *p)
{
    sail_err ignored;
    if (p->rt && p->rt->backend->profiling)
        p->rt->backend->profiling(p->rt->device, false, &ignored);
    sail__free(p->rows);
    sail__free(p->taken);
    *p = (sail__profile){0};
}

sail_code sail__profile_begin(sail__profile *p, sail_err *err)
{
    int n;
    sail_counters c;
    SAIL_TRY(take(p, &n, err)); /* and passed over */
    counters_of(p->rt, &c);
    p->kernels_before = c.kernels_created;
    p->started = sail__now();
    return SAIL_OK;
}

static bool same(const sail_kernel_use *a, const sail_kernel_use *b)
{
    return a->op == b->op && !strcmp(a->name, b->name) && !strcmp(a->variant, b->variant);
}

static void add(sail_kernel_use *to, const sail_kernel_use *u)
{
    to->calls += u->calls;
    to->seconds += u->seconds;
    to->flops += u->flops;
    to->bytes += u->bytes;
}

sail_code sail__profile_end(sail__profile *p, sail_err *err)
{
    int n;
    sail_counters c;
    SAIL_TRY(take(p, &n, err));
    p->seconds += sail__now() - p->started;
    counters_of(p->rt, &c);
    p->kernels_made += c.kernels_created - p->kernels_before;
    for (int i = 0; i < n; i++) {
        size_t k = 0;
        while (k < p->n && !same(&p->rows[k], &p->taken[i]))
            k++;
        if (k == p->n) {
            SAIL_TRY(sail__grow(&p->rows, &p->cap, p->n + 1, sizeof *p->rows, err));
            p->rows[p->n++] = p->taken[i];
        } else {
            add(&p->rows[k], &p->taken[i]);
        }
    }
    return SAIL_OK;
}

/* ---- telling ---- */

static int by_time(const void *a, const void *b)
{
    const sail_kernel_use *x = a, *y = b;
    if (x->seconds != y->seconds)
        return (x->seconds < y->seconds) - (x->seconds > y->seconds);
    return strcmp(x->name, y->name);
}

/* The time the device could do it in, over the time it took; NAN: not known. */
static double of_limit(const sail__profile *p, const sail_kernel_use *u)
{
    if (!(p->flops > 0 && p->bytes > 0 && u->seconds > 0 && (u->flops > 0 || u->bytes > 0)))
        return NAN;
    return fmax(u->flops / p->flops, u->bytes / p->bytes) / u->seconds;
}

static sail_kernel_use *sorted(const sail__profile *p, bool merged, size_t *n)
{
    sail_kernel_use *rows = sail__malloc((p->n + 1) * sizeof *rows);
    *n = 0;
    for (size_t i = 0; rows && i < p->n; i++) {
        size_t k = merged ? 0 : *n;
        while (k < *n && !(rows[k].op == p->rows[i].op && !strcmp(rows[k].name, p->rows[i].name)))
            k++;
        if (k == *n)
            rows[(*n)++] = p->rows[i];
        else
            add(&rows[k], &p->rows[i]);
    }
    if (rows)
        qsort(rows, *n, sizeof *rows, by_time);
    return rows;
}

static double kernel_seconds(const sail__profile *p)
{
    double all = 0;
    for (size_t i = 0; i < p->n; i++)
        all += p->rows[i].seconds;
    return all;
}

static void put_number(sail_arena *a, sail_node *map, const char *key, double v)
{
    sail_node *n = sail__node_new(a, SAIL_NODE_FLOAT, "profile", 0, 0);
    if (!n || !map)
        return;
    n->number = v;
    sail__node_set(a, map, key, n);
}

static sail_node *kernel_node(const sail__profile *p, const sail_kernel_use *u, double all, sail_arena *a)
{
    sail_node *m = sail__node_new(a, SAIL_NODE_MAP, "profile", 0, 0);
    if (!m)
        return NULL;
    sail__node_set(a, m, "kernel", sail__node_string(a, u->name, "profile"));
    sail__node_set(a, m, "op", sail__node_string(a, sail_op_name(u->op), "profile"));
    sail__node_set(a, m, "variant", sail__node_string(a, u->variant, "profile"));
    put_number(a, m, "calls", (double)u->calls);
    put_number(a, m, "seconds", u->seconds);
    put_number(a, m, "share", all > 0 ? u->seconds / all : 0);
    if (u->flops > 0 || u->bytes > 0) {
        put_number(a, m, "flops", u->flops);
        put_number(a, m, "bytes", u->bytes);
        put_number(a, m, "of_limit", of_limit(p, u));
    }
    return m;
}

static sail_node *part_node(const sail__profile_part *part, sail_arena *a)
{
    sail_node *m = sail__node_new(a, SAIL_NODE_MAP, "profile", 0, 0);
    if (!m)
        return NULL;
    sail__node_set(a, m, "of", sail__node_string(a, part->name, "profile"));
    put_number(a, m, "n", part->n);
    put_number(a, m, "uploads", (double)part->traffic.uploads);
    put_number(a, m, "upload_bytes", (double)part->traffic.upload_bytes);
    put_number(a, m, "downloads", (double)part->traffic.downloads);
    put_number(a, m, "download_bytes", (double)part->traffic.download_bytes);
    return m;
}

sail_node *sail__profile_node(const sail__profile *p, sail_arena *a)
{
    sail_node *root = sail__node_new(a, SAIL_NODE_MAP, "profile", 0, 0), *kernels = sail__node_new(a, SAIL_NODE_LIST, "profile", 0, 0),
              *parts = sail__node_new(a, SAIL_NODE_LIST, "profile", 0, 0);
    size_t n;
    sail_kernel_use *rows = sorted(p, false, &n);
    if (root && kernels && parts && rows) {
        const double all = kernel_seconds(p);
        sail__node_set(a, root, "backend", sail__node_string(a, p->rt->name, "profile"));
        sail__node_set(a, root, "device", sail__node_string(a, p->rt->info.name, "profile"));
        put_number(a, root, "seconds", p->seconds);
        put_number(a, root, "kernel_seconds", all);
        put_number(a, root, "kernels_made", (double)p->kernels_made);
        if (p->flops > 0) {
            put_number(a, root, "limit_flops", p->flops);
            put_number(a, root, "limit_bytes", p->bytes);
        }
        for (int i = 0; i < p->n_parts; i++)
            sail__node_append(a, parts, part_node(&p->parts[i], a));
        for (size_t i = 0; i < n; i++)
            sail__node_append(a, kernels, kernel_node(p, &rows[i], all, a));
        sail__node_set(a, root, "transfers", parts);
        sail__node_set(a, root, "kernels", kernels);
    }
    sail__free(rows);
    return kernels && parts && rows ? root : NULL;
}

static void number(sail_buf *b, double v, double unit, const char *format)
{
    if (v > 0)
        sail__buf_printf(b, format, v / unit);
    else
        sail__buf_printf(b, " %8s", "-");
}

void sail__profile_text(const sail__profile *p, sail_buf *out)
{
    size_t n;
    sail_kernel_use *rows = sorted(p, true, &n);
    const double all = kernel_seconds(p);
    if (!rows) {
        out->oom = true;
        return;
    }
    sail__buf_printf(out, "%s (%s): kernels %.3f s of %.3f s, %llu compiled or loaded meanwhile", p->rt->info.name, p->rt->name, all,
                     p->seconds, (unsigned long long)p->kernels_made);
    if (p->flops > 0)
        sail__buf_printf(out, "; limits measured: %.1f Gflop/s float32, %.1f GB/s", p->flops * 1e-9, p->bytes * 1e-9);
    sail__buf_printf(out, "\n%-22s %-16s %8s %10s %6s %9s %8s %8s %8s %8s\n", "kernel", "op", "calls", "seconds", "share", "Gflop", "GB",
                     "Gflop/s", "GB/s", "of limit");
    for (size_t i = 0; i < n; i++) {
        const sail_kernel_use *u = &rows[i];
        const double limit = of_limit(p, u), s = u->seconds > 0 ? u->seconds : INFINITY;
        sail__buf_printf(out, "%-22s %-16s %8llu %10.4f %5.1f%%", u->name, sail_op_name(u->op), (unsigned long long)u->calls, u->seconds,
                         all > 0 ? 100 * u->seconds / all : 0);
        number(out, u->flops, 1e9, "  %8.2f");
        number(out, u->bytes, 1e9, " %8.3f");
        number(out, u->flops / s, 1e9, " %8.1f");
        number(out, u->bytes / s, 1e9, " %8.2f");
        number(out, limit, 1, " %8.3f");
        sail__buf_str(out, "\n");
    }
    for (int i = 0; i < p->n_parts; i++) {
        const sail__profile_part *t = &p->parts[i];
        const double each = t->n > 0 ? t->n : 1;
        sail__buf_printf(out, "%s (%.0f): up %.2f transfers, %.0f bytes; down %.2f transfers, %.0f bytes, each\n", t->name, t->n,
                         (double)t->traffic.uploads / each, (double)t->traffic.upload_bytes / each, (double)t->traffic.downloads / each,
                         (double)t->traffic.download_bytes / each);
    }
    sail__free(rows);
}
