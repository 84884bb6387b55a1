/* cost.c - see cost.h. */
#include "cost.h"

sail_code sail__cost_of(sail_arena *a, const sail__model_config *m, sail__cost *out, sail_err *err)
{
    sail__param *p;
    size_t n;
    SAIL_TRY(sail__model_params(a, m, &p, &n, err));
    *out = (sail__cost){.head = (double)m->vocab * m->width, .heads = (double)m->layers * m->heads * m->head_dim,
                        .kv = (double)m->layers * m->kv_heads * m->head_dim};
    for (size_t i = 0; i < n; i++)
        if (!p[i].vector && p[i].layer >= 0)
            out->blocks += (double)p[i].rows * (double)p[i].cols;
    return SAIL_OK;
}

double sail__pair_flops(const sail__cost *c, double p, double r)
{
    return 2 * c->blocks * (p + 2 * r) + 4 * c->head * r + 2 * c->heads * (p * p + 4 * p * r + 2 * r * r);
}
