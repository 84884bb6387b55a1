/* model_memory.c - what a model takes of a device's memory before anything runs, by arithmetic, and what would take less. */
#include <string.h>

#include "model_impl.h"

enum { EXAMPLE_RANK = 16 };

typedef struct need {
    double weights, training, reference; /* bytes: used in passes; masters, gradients and moments; a second copy */
} need;

static double all(const need *n) { return n->weights + n->training + n->reference; }
static double mib(double bytes) { return bytes / 0x1p20; }

double sail__trained_bytes(double n, int states, sail_dtype dtype) { return n * (4.0 * (2 + states) + (dtype == SAIL_BF16 ? 2 : 0)); }

static double frozen_bytes(const sail__model *m, const sail__param *p, sail_dtype dtype, bool as_stored)
{
    sail_err ignored; /* whoever loads the parameter tells it */
    sail_dtype t = dtype;
    sail__frozen_dtype(m, p, dtype, as_stored, &t, &ignored);
    return (double)p->rows * (double)sail_dtype_bytes(t, (uint64_t)p->cols);
}

static need need_of(const sail__model *m, sail_dtype dtype, bool as_stored, sail__train_kind train, double adapter, double frozen_adapter,
                    bool copy, int states)
{
    need n = {0};
    double numbers = 0, base = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        const sail__param *p = &m->params[i];
        numbers += (double)p->rows * (double)p->cols;
        base += frozen_bytes(m, p, dtype, as_stored && train != SAIL__TRAIN_ALL);
    }
    if (train == SAIL__TRAIN_ALL)
        n.training = sail__trained_bytes(numbers, states, dtype);
    else
        n.weights = base;
    if (train == SAIL__TRAIN_ADAPTER)
        n.training = sail__trained_bytes(adapter, states, dtype);
    n.weights += frozen_adapter * (dtype == SAIL_F32 ? 4 : 2);
    n.reference = copy ? base : 0;
    return n;
}

/* Numbers of an adapter; where it names no layer of the model the caller finds out. */
static double adapter_numbers(const sail__model *m, const sail__adapter *a)
{
    double n = 0;
    for (size_t i = 0; a && i < a->n_layers; i++) {
        const sail__param *p = sail__weight_of(m->params, m->n_params, a->layers[i].module);
        n += p ? (double)a->layers[i].rank * (double)(p->rows + p->cols) : 0;
    }
    for (size_t i = 0; a && i < a->n_saved; i++)
        for (size_t k = 0; k < m->n_params; k++)
            if (!strcmp(m->params[k].name, a->saved[i].name))
                n += (double)m->params[k].rows * (double)m->params[k].cols;
    return n;
}

/* A new adapter of that rank on every linear layer. */
static double lora_numbers(const sail__model *m, int rank)
{
    double n = 0;
    for (size_t k = 0; k < m->n_params; k++)
        if (!m->params[k].vector && m->params[k].layer >= 0)
            n += rank * (double)(m->params[k].rows + m->params[k].cols);
    return n;
}

sail_code sail__model_fits(const sail__model *m, sail_err *err)
{
    const sail__model_spec *s = &m->spec;
    const double have = (double)m->rt->info.memory;
    const int states = s->optimizer ? s->optimizer->states : 0;
    const double adapter = adapter_numbers(m, s->adapter);
    const double frozen = adapter_numbers(m, s->reference_adapter) + (s->train == SAIL__TRAIN_NOTHING ? adapter : 0);
    const need n = need_of(m, s->dtype, s->as_stored, s->train, adapter, frozen, s->reference_copy, states);
    if (have <= 0 || all(&n) <= have)
        return SAIL_OK;
    const need kept = need_of(m, s->dtype, true, s->train, adapter, frozen, s->reference_copy, states);
    const struct {
        const char *what;
        bool differs;
        need n;
    } other[] = {
        {"model.weights: as_stored", !s->as_stored && s->train != SAIL__TRAIN_ALL && all(&kept) < all(&n), kept},
        {"bf16", s->dtype == SAIL_F32, need_of(m, SAIL_BF16, s->as_stored, s->train, adapter, frozen, s->reference_copy, states)},
        {"LoRA of rank 16", s->train == SAIL__TRAIN_ALL, need_of(m, s->dtype, s->as_stored, SAIL__TRAIN_ADAPTER, lora_numbers(m, EXAMPLE_RANK), 0, false, states)},
        {"LoRA of rank 16 in bf16", s->train == SAIL__TRAIN_ALL && s->dtype == SAIL_F32,
         need_of(m, SAIL_BF16, s->as_stored, SAIL__TRAIN_ADAPTER, lora_numbers(m, EXAMPLE_RANK), 0, false, states)},
        {"LoRA of rank 1 in bf16", s->train == SAIL__TRAIN_ADAPTER, need_of(m, SAIL_BF16, s->as_stored, SAIL__TRAIN_ADAPTER, lora_numbers(m, 1), 0, false, states)},
    };
    sail_buf text = {0};
    double least = all(&n);
    sail__buf_printf(&text, "the model needs %.1f MiB", mib(all(&n)));
    if (n.training > 0 || n.reference > 0)
        sail__buf_printf(&text, " (weights %.1f; masters, gradients and moments of what is trained %.1f", mib(n.weights), mib(n.training));
    if (n.reference > 0)
        sail__buf_printf(&text, "; a second copy as reference %.1f", mib(n.reference));
    if (n.training > 0 || n.reference > 0)
        sail__buf_str(&text, ")");
    sail__buf_printf(&text, " before any batch; %s has %.1f MiB", m->rt->info.name, mib(have));
    int fitting = 0;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        if (!other[i].differs)
            continue;
        least = all(&other[i].n) < least ? all(&other[i].n) : least;
        if (all(&other[i].n) <= have)
            sail__buf_printf(&text, "%s %s (%.1f MiB)", fitting++ ? "," : "; what fits:", other[i].what, mib(all(&other[i].n)));
    }
    if (!fitting)
        sail__buf_printf(&text, "; the least way to %s it needs %.1f MiB, so that a smaller model is wanted, or another device",
                         s->train == SAIL__TRAIN_NOTHING ? "run" : "train", mib(least));
    const sail_code code = sail_fail(err, SAIL_E_NOMEM, "%s", text.data ? text.data : "the model does not fit the device");
    sail__buf_free(&text);
    return code;
}
