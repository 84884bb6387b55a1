/* differences.c - the derivative that the graph builds for a case against central differences, on ref in float32. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "suite.h"

typedef struct trial {
    suite *s;
    kase *c;
    sail_graph *g;
    sail_exec *x;
    int n_params; /* float operands, in order; their gradients follow */
    int of[SAIL_MAX_INPUTS];
    sail_value value[SAIL_MAX_INPUTS], grad[SAIL_MAX_INPUTS], outputs[SAIL_MAX_OUTPUTS];
    int n_outputs;
    sail_tensor params[2 * SAIL_MAX_INPUTS], inputs[2 * SAIL_MAX_INPUTS], results[SAIL_MAX_OUTPUTS];
    float *seeds[SAIL_MAX_OUTPUTS];
    sail_err err;
} trial;

static sail_value gradient_of(void *user, sail_value v)
{
    trial *t = user;
    for (int i = 0; i < t->n_params; i++)
        if (t->value[i] == v)
            return t->grad[i];
    return SAIL_NONE;
}

/* Only outputs that have a derivative are seeded. */
static int useful_outputs(const kase *c)
{
    return c->op == SAIL_OP_HEAD ? (c->attr.want & SAIL_WANT_LSS ? 3 : c->attr.want & SAIL_WANT_ENTROPY ? 2 : 1) : 1;
}

static bool build(trial *t)
{
    kase *c = t->c;
    sail_value in[SAIL_MAX_INPUTS], seeds[SAIL_MAX_OUTPUTS];
    t->g = sail_graph_new();
    for (int i = 0; i < c->n_in; i++) {
        const operand *o = &c->in[i];
        in[i] = SAIL_NONE;
        if (!o->present)
            continue;
        if (c->differentiable >> i & 1) {
            t->of[t->n_params] = i;
            in[i] = t->value[t->n_params] = sail_graph_param(t->g, "x", t->n_params, o->t, o->rows, o->cols, true);
            t->n_params++;
        } else {
            in[i] = sail_graph_input(t->g, "i", i, o->t, o->rows, o->cols);
        }
    }
    const sail_value first = sail_graph_add(t->g, c->op, &c->attr, in, c->n_in, SAIL_NONE);
    t->n_outputs = useful_outputs(c);
    for (int i = 0; i < t->n_outputs; i++) {
        t->outputs[i] = first + i;
        sail_graph_output(t->g, first + i, i);
        seeds[i] = sail_graph_input(t->g, "seed", SAIL_MAX_INPUTS + i, c->out[i].t, c->out[i].rows, c->out[i].cols);
    }
    for (int i = 0; i < t->n_params; i++)
        t->grad[i] = sail_graph_param(t->g, "g", t->n_params + i, SAIL_F32, c->in[t->of[i]].rows, c->in[t->of[i]].cols,
                                      false);
    return sail_graph_backward(t->g, t->outputs, seeds, t->n_outputs, gradient_of, t, false, &t->err) == SAIL_OK &&
           sail__exec_new(t->s->ref.rt, t->g, &t->x, &t->err) == SAIL_OK;
}

static bool fill(trial *t)
{
    sail_runtime *rt = t->s->ref.rt;
    const kase *c = t->c;
    for (int i = 0; i < c->n_in; i++) {
        const operand *o = &c->in[i];
        if (!o->present || c->differentiable >> i & 1)
            continue;
        if (sail__tensor_alloc(rt, o->t, o->rows, o->cols, &t->inputs[i], &t->err) != SAIL_OK)
            return false;
        if (o->i && sail__tensor_put(rt, &t->inputs[i], o->i, &t->err) != SAIL_OK)
            return false;
        if (o->f && sail__tensor_put_f32(rt, &t->inputs[i], o->f, &t->err) != SAIL_OK)
            return false;
    }
    for (int i = 0; i < t->n_outputs; i++) {
        const operand *o = &c->out[i];
        sail_tensor *to = &t->inputs[SAIL_MAX_INPUTS + i];
        t->seeds[i] = uniform(t->s, o->rows * o->cols, -1, 1);
        if (sail__tensor_alloc(rt, o->t, o->rows, o->cols, to, &t->err) != SAIL_OK ||
            sail__tensor_put_f32(rt, to, t->seeds[i], &t->err) != SAIL_OK)
            return false;
    }
    for (int i = 0; i < t->n_params; i++) {
        const operand *o = &c->in[t->of[i]];
        float *zero = scratch(t->s, (size_t)(o->rows * o->cols) * sizeof *zero);
        if (sail__tensor_alloc(rt, o->t, o->rows, o->cols, &t->params[i], &t->err) != SAIL_OK ||
            sail__tensor_put_f32(rt, &t->params[i], o->f, &t->err) != SAIL_OK ||
            sail__tensor_alloc(rt, SAIL_F32, o->rows, o->cols, &t->params[t->n_params + i], &t->err) != SAIL_OK ||
            sail__tensor_put_f32(rt, &t->params[t->n_params + i], zero, &t->err) != SAIL_OK)
            return false;
    }
    return true;
}

static bool run(trial *t, int parts)
{
    const sail_binding b = {.params = t->params, .n_params = 2 * t->n_params, .inputs = t->inputs,
                            .n_inputs = 2 * SAIL_MAX_INPUTS, .outputs = t->results, .n_outputs = SAIL_MAX_OUTPUTS};
    return sail__exec_run(t->x, &b, parts, &t->err) == SAIL_OK;
}

/* Sum of outputs times seeds, with the p-th operand moved by h along d. */
static bool loss(trial *t, int p, const float *d, double h, double *sum)
{
    sail_runtime *rt = t->s->ref.rt;
    const operand *o = &t->c->in[t->of[p]];
    float *moved = scratch(t->s, (size_t)(o->rows * o->cols) * sizeof *moved);
    for (int64_t k = 0; k < o->rows * o->cols; k++)
        moved[k] = (float)((double)o->f[k] + h * (double)d[k]);
    if (sail__tensor_put_f32(rt, &t->params[p], moved, &t->err) != SAIL_OK || !run(t, SAIL_RUN_FORWARD))
        return false;
    *sum = 0;
    for (int i = 0; i < t->n_outputs; i++) {
        const int64_t n = t->c->out[i].rows * t->c->out[i].cols;
        float *y = scratch(t->s, (size_t)n * sizeof *y);
        if (sail__tensor_get_f32(rt, &t->results[i], y, &t->err) != SAIL_OK)
            return false;
        for (int64_t k = 0; k < n; k++)
            *sum += (double)y[k] * (double)t->seeds[i][k];
    }
    return sail__tensor_put_f32(rt, &t->params[p], o->f, &t->err) == SAIL_OK;
}

static bool check(trial *t)
{
    suite *s = t->s;
    if (!build(t) || !fill(t) || !run(t, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD))
        return false;
    for (int p = 0; p < t->n_params; p++) {
        const operand *o = &t->c->in[t->of[p]];
        const int64_t n = o->rows * o->cols;
        float *g = scratch(s, (size_t)n * sizeof *g), *d = uniform(s, n, -1, 1);
        double want = 0, size = 0, value[4];
        const double h = 4e-3, at[4] = {h, -h, 2 * h, -2 * h};
        if (sail__tensor_get_f32(s->ref.rt, &t->params[t->n_params + p], g, &t->err) != SAIL_OK)
            return false;
        for (int64_t k = 0; k < n; k++) {
            want += (double)g[k] * (double)d[k];
            size += fabs((double)g[k] * (double)d[k]);
        }
        for (int k = 0; k < 4; k++)
            if (!loss(t, p, d, at[k], &value[k]))
                return false;
        const double got = (8 * (value[0] - value[1]) - (value[2] - value[3])) / (12 * h);
        const double allowed = 1e-3 * size + 2e-5 * (fabs(value[0]) + 1);
        const double fraction = fabs(got - want) / allowed;
        if (!(fraction <= 1)) {
            sail_fail(&t->err, SAIL_E_NUMERIC, "operand %d: %.8g by central differences, %.8g by the graph, allowed %.2g",
                      t->of[p], got, want, allowed);
            return false;
        }
        if (fraction > s->worst_difference[t->c->op])
            s->worst_difference[t->c->op] = fraction;
    }
    s->checked_differences++;
    return true;
}

bool differences(suite *s, kase *c)
{
    trial t = {.s = s, .c = c};
    for (int i = 0; i < c->n_in + SAIL_MAX_OUTPUTS; i++) {
        const operand *o = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (o->present && o->t != SAIL_F32 && o->t != SAIL_I32)
            return true; /* steps would drown in rounding */
    }
    const bool good = check(&t);
    if (!good)
        printf("FAILED %s: derivative: %s\n", c->name, t.err.message);
    sail__exec_free(t.x);
    for (int i = 0; i < 2 * SAIL_MAX_INPUTS; i++) {
        sail__tensor_free(s->ref.rt, &t.params[i]);
        sail__tensor_free(s->ref.rt, &t.inputs[i]);
    }
    sail_graph_free(t.g);
    return good;
}
