/* model_run.c - passes over a batch: one packed block up, results down. */
#include <math.h>
#include <string.h>

#include "model_impl.h"

/* ---- programs: a graph for each use, compiled when first needed ---- */

static int gradient_index(void *user, int param)
{
    const sail__model *m = user;
    return m->gradient[param];
}

static sail_code program_of(sail__model *m, sail__role_kind role, sail__head_kind head, int want, bool training,
                            sail__program **out, sail_err *err)
{
    for (int i = 0; i < m->n_programs; i++) {
        sail__program *p = &m->programs[i];
        if (p->role == role && p->head == head && p->want == want && p->training == training) {
            *out = p;
            return SAIL_OK;
        }
    }
    if (m->n_programs == SAIL__MAX_PROGRAMS)
        return sail_fail(err, SAIL_E_BUG, "model: too many programs");
    sail__decoder_spec d = m->view[role];
    d.head = head;
    d.want = want;
    if (training) {
        d.grad_want = m->spec.grad_want;
        d.want |= d.grad_want;
        d.gradient_of = gradient_index;
        d.user = m;
    }
    sail__program *p = &m->programs[m->n_programs];
    *p = (sail__program){.role = role, .head = head, .want = want, .training = training};
    SAIL_TRY(sail__decoder_build(&d, &p->graph, err));
    sail_code code = sail__exec_new(m->rt, p->graph, &p->exec, err);
    if (code != SAIL_OK) {
        sail_graph_free(p->graph);
        return code;
    }
    m->n_programs++;
    *out = p;
    return SAIL_OK;
}

/* ---- passes ---- */

static sail_code check(const sail__model *m, const sail__forest *f, sail_err *err)
{
    for (int64_t i = 0; i < f->n_tokens; i++) {
        if (f->ids[i] < 0 || f->ids[i] >= m->config->vocab)
            return sail_fail(err, SAIL_E_ARG, "token id %d at position %d is outside the vocabulary of %d", f->ids[i], f->positions[i],
                             m->config->vocab);
        if (f->positions[i] >= m->positions)
            return sail_fail(err, SAIL_E_LIMIT, "a sequence is longer than the %lld positions of the model", (long long)m->positions);
    }
    for (int64_t i = 0; i < f->n_rows; i++)
        if (f->targets[i] >= m->config->vocab)
            return sail_fail(err, SAIL_E_ARG, "token id %d is outside the vocabulary of %d", f->targets[i], m->config->vocab);
    return SAIL_OK;
}

static sail_code run(sail__model *m, sail__program *p, const sail__forest *f, int parts, sail_tensor *outputs, sail_err *err)
{
    sail_binding b = {.dims = sail__forest_dims(f),
                      .params = m->bind,
                      .n_params = m->n_bind,
                      .inputs = m->inputs.tensors,
                      .n_inputs = SAIL__IN_COUNT,
                      .outputs = outputs,
                      .n_outputs = SAIL__OUT_COUNT};
    return sail__exec_run(p->exec, &b, parts, err);
}

/* The same place in forward and backward: derivatives lie behind the tables. */
static void derivatives(sail__inputs *in, const sail__forest *f, const float *logp, const float *entropy, const float *lss)
{
    sail__inputs_put(in, SAIL__IN_G_LOGP, SAIL_F32, logp, f->n_rows, 1);
    sail__inputs_put(in, SAIL__IN_G_ENTROPY, SAIL_F32, entropy, f->n_rows, 1);
    sail__inputs_put(in, SAIL__IN_G_LSS, SAIL_F32, lss, f->n_rows, 1);
}

static void score_derivatives(sail__inputs *in, const sail__model *m, const sail__forest *f, const float *scores)
{
    sail__inputs_put(in, SAIL__IN_G_SCORES, SAIL_F32, scores, f->n_rows, m->config->labels);
}

static sail_code forward(sail__model *m, sail__role_kind role, sail__head_kind head, int want, bool keep, const sail__forest *f,
                         sail_tensor *outputs, sail_err *err)
{
    if (f->cached)
        return sail_fail(err, SAIL_E_BUG, "model: a cached forest is for decoding");
    SAIL_TRY(check(m, f, err));
    if (sail__short_length(m->config)) {
        SAIL_TRY(sail__forest_forms(f, sail__short_length(m->config), m->positions, &m->forms, err));
        f = &m->forms;
    }
    sail__program *p = NULL;
    SAIL_TRY(program_of(m, role, head, want, keep, &p, err));
    sail__inputs_begin(&m->inputs);
    sail__inputs_forest(&m->inputs, f);
    uint64_t tables = m->inputs.size;
    if (head == SAIL__HEAD_SCORE) /* room for them, and names for the plan */
        score_derivatives(&m->inputs, m, f, NULL);
    else
        derivatives(&m->inputs, f, NULL, NULL, NULL);
    uint64_t all = m->inputs.size;
    m->inputs.size = tables;
    SAIL_TRY(sail__inputs_send(&m->inputs, 0, all - tables, err));
    SAIL_TRY(run(m, p, f, SAIL_RUN_FORWARD, outputs, err));
    m->kept = keep ? p : NULL;
    m->kept_tables = tables;
    return SAIL_OK;
}

sail_code sail__model_logprobs(sail__model *m, sail__role_kind role, const sail__forest *f, bool keep, float *logp, float *entropy,
                               float *lss, sail_err *err)
{
    sail_tensor out[SAIL__OUT_COUNT] = {{0}};
    int want = (entropy ? SAIL_WANT_ENTROPY : 0) | (lss ? SAIL_WANT_LSS : 0);
    if (keep && (role != SAIL__POLICY || !m->flat))
        return sail_fail(err, SAIL_E_STATE, "this model was loaded without anything to train");
    if (f->n_rows == 0 || f->n_tokens == 0)
        return sail_fail(err, SAIL_E_ARG, "a batch without tokens to score");
    SAIL_TRY(forward(m, role, SAIL__HEAD_LOGPROB, want, keep, f, out, err));
    SAIL_TRY(sail__outputs_begin(&m->outputs, 3 * sail__outputs_room(&m->outputs, SAIL_F32, f->n_rows, 1), 3, err));
    SAIL_TRY(sail__outputs_take(&m->outputs, &out[SAIL__OUT_LOGP], logp, err));
    if (entropy)
        SAIL_TRY(sail__outputs_take(&m->outputs, &out[SAIL__OUT_ENTROPY], entropy, err));
    if (lss)
        SAIL_TRY(sail__outputs_take(&m->outputs, &out[SAIL__OUT_LSS], lss, err));
    return sail__outputs_get(&m->outputs, err);
}

static sail_code backward(sail__model *m, const sail__forest *f, sail_err *err)
{
    if (sail__short_length(m->config))
        f = &m->forms; /* what the kept pass was over; its head rows are the same */
    SAIL_TRY(sail__inputs_send(&m->inputs, m->kept_tables, 0, err));
    sail__program *p = m->kept;
    m->kept = NULL;
    return run(m, p, f, SAIL_RUN_BACKWARD, NULL, err);
}

sail_code sail__model_backward(sail__model *m, const sail__forest *f, const float *g_logp, const float *g_entropy, const float *g_lss,
                               sail_err *err)
{
    if (!m->kept || m->kept->head != SAIL__HEAD_LOGPROB)
        return sail_fail(err, SAIL_E_STATE, "backward needs a kept forward pass before it");
    if ((g_entropy && !(m->spec.grad_want & SAIL_WANT_ENTROPY)) || (g_lss && !(m->spec.grad_want & SAIL_WANT_LSS)))
        return sail_fail(err, SAIL_E_BUG, "model: grad_want does not name this derivative");
    m->inputs.size = m->kept_tables;
    derivatives(&m->inputs, f, g_logp, g_entropy, g_lss);
    return backward(m, f, err);
}

sail_code sail__model_logits(sail__model *m, sail__role_kind role, const sail__forest *f, float *logits, sail_err *err)
{
    sail_tensor out[SAIL__OUT_COUNT] = {{0}};
    SAIL_TRY(forward(m, role, SAIL__HEAD_LOGITS, 0, false, f, out, err));
    SAIL_TRY(sail__tensor_get_f32(m->rt, &out[SAIL__OUT_LOGITS], logits, err));
    float cap = (float)m->config->final_softcap;
    for (int64_t i = 0; cap > 0 && i < f->n_rows * m->config->vocab; i++)
        logits[i] = cap * tanhf(logits[i] / cap);
    return SAIL_OK;
}

sail_code sail__model_scores(sail__model *m, const sail__forest *f, bool keep, float *scores, sail_err *err)
{
    const sail__model_config *c = m->config;
    sail_tensor out[SAIL__OUT_COUNT] = {{0}};
    if (c->labels < 1)
        return sail_fail(err, SAIL_E_ARG, "this is a language model: it has no score head");
    if (keep && !m->flat)
        return sail_fail(err, SAIL_E_STATE, "this model was loaded without anything to train");
    if (f->n_rows == 0 || f->n_tokens == 0)
        return sail_fail(err, SAIL_E_ARG, "a batch without tokens to score");
    SAIL_TRY(forward(m, SAIL__POLICY, SAIL__HEAD_SCORE, 0, keep, f, out, err));
    SAIL_TRY(sail__tensor_get_f32(m->rt, &out[SAIL__OUT_SCORES], scores, err));
    for (int64_t i = 0; c->score_scale && i < f->n_rows * c->labels; i++)
        scores[i] = (float)((scores[i] - c->score_shift[i % c->labels]) * c->score_scale[i % c->labels]);
    return SAIL_OK;
}

sail_code sail__model_scores_backward(sail__model *m, const sail__forest *f, const float *g_scores, sail_err *err)
{
    const sail__model_config *c = m->config;
    if (!m->kept || m->kept->head != SAIL__HEAD_SCORE)
        return sail_fail(err, SAIL_E_STATE, "backward needs kept scores before it");
    float *scaled = NULL;
    if (c->score_scale) {
        scaled = sail__malloc((size_t)(f->n_rows * c->labels) * sizeof *scaled + 1);
        if (!scaled)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        for (int64_t i = 0; i < f->n_rows * c->labels; i++)
            scaled[i] = (float)(g_scores[i] * c->score_scale[i % c->labels]);
    }
    m->inputs.size = m->kept_tables;
    score_derivatives(&m->inputs, m, f, scaled ? scaled : g_scores);
    sail_code code = backward(m, f, err);
    sail__free(scaled);
    return code;
}

/* ---- reading parameters back ---- */

static int param_named(const sail__model *m, const char *name)
{
    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* The full-precision tensor behind bound parameter i. */
static sail_tensor master(const sail__model *m, int i)
{
    return m->entry[i] >= 0 ? sail__flat_view(m->flat, m->entry[i], SAIL__FLAT_WEIGHT, 0) : m->bind[i];
}

static sail_code read_matrix(sail__model *m, int i, float *out, sail_err *err)
{
    sail_tensor t = master(m, i);
    return sail__tensor_get_f32(m->rt, &t, out, err);
}

/* out += scale * B[first..] A, in double. */
static sail_code add_update(sail__model *m, const sail__lora_layer *l, int64_t first, int64_t count, float *out, sail_err *err)
{
    float *a = sail__malloc((size_t)(l->rank * l->in) * sizeof *a + 1), *b = sail__malloc((size_t)(l->out * l->rank) * sizeof *b + 1);
    sail_code code = a && b ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory merging %s", l->module);
    if (code == SAIL_OK)
        code = read_matrix(m, l->param_a, a, err);
    if (code == SAIL_OK)
        code = read_matrix(m, l->param_b, b, err);
    for (int64_t r = 0; code == SAIL_OK && r < count; r++)
        for (int64_t j = 0; j < l->in; j++) {
            double sum = 0;
            for (int64_t k = 0; k < l->rank; k++)
                sum += (double)b[(first + r) * l->rank + k] * a[k * l->in + j];
            out[r * l->in + j] = (float)(out[r * l->in + j] + l->scale * sum);
        }
    sail__free(a);
    sail__free(b);
    return code;
}

sail_code sail__model_read(sail__model *m, sail__role_kind role, const char *name, bool merged, int64_t first, int64_t count,
                           float *out, sail_err *err)
{
    int i = param_named(m, name);
    if (i < 0)
        return sail_fail(err, SAIL_E_NOTFOUND, "the model has no parameter %s", name);
    const sail__param *p = &m->params[i];
    if (first < 0 || count < 0 || first + count > p->rows)
        return sail_fail(err, SAIL_E_ARG, "%s has %lld rows", name, (long long)p->rows);
    int at = m->replaced[role] && m->replaced[role][i] >= 0 ? m->replaced[role][i] : i;
    sail_tensor t = master(m, at);
    t.offset += sail_dtype_bytes(t.dtype, (uint64_t)(first * t.ld));
    t.rows = count;
    SAIL_TRY(sail__tensor_get_f32(m->rt, &t, out, err));
    for (size_t k = 0; merged && k < m->n_lora[role]; k++) {
        const sail__lora_layer *l = &m->lora[role][k];
        if (sail__is_weight_of(name, l->module))
            return add_update(m, l, first, count, out, err);
    }
    return SAIL_OK;
}

size_t sail__model_adapter_layers(const sail__model *m) { return m->n_lora[SAIL__POLICY]; }
const sail__lora_layer *sail__model_adapter_layer(const sail__model *m, size_t i) { return &m->lora[SAIL__POLICY][i]; }

sail_code sail__model_adapter_read(sail__model *m, size_t i, float *a, float *b, sail_err *err)
{
    const sail__lora_layer *l = &m->lora[SAIL__POLICY][i];
    SAIL_TRY(read_matrix(m, l->param_a, a, err));
    return read_matrix(m, l->param_b, b, err);
}

sail_code sail__linear_modules(sail_arena *a, const sail__model_config *c, const char *const *targets, size_t n_targets,
                               const char ***out, size_t *n, sail_err *err)
{
    sail__param *params;
    size_t n_params;
    SAIL_TRY(sail__model_params(a, c, &params, &n_params, err));
    *out = sail__arena_array(a, n_params + 1, sizeof **out);
    *n = 0;
    for (size_t i = 0; *out && i < n_params; i++) {
        const sail__param *p = &params[i];
        if (p->vector || p->layer < 0)
            continue;
        char *module = sail__arena_strndup(a, p->name, strlen(p->name) - strlen(".weight"));
        if (!module)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        bool wanted = n_targets == 0;
        for (size_t k = 0; k < n_targets && !wanted; k++) {
            size_t len = strlen(targets[k]), have = strlen(module);
            wanted = strcmp(targets[k], module) == 0 ||
                     (have > len && module[have - len - 1] == '.' && strcmp(module + have - len, targets[k]) == 0);
        }
        if (wanted)
            (*out)[(*n)++] = module;
    }
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

double sail__model_flops(const sail__model *m, sail__role_kind role, const sail__forest *f, bool keep)
{
    const sail_forest_tables tables = {f->segments, f->ranges, f->n_segments};
    sail_dims d = sail__forest_dims(f);
    for (int i = 0; i < m->n_programs; i++) {
        const sail__program *p = &m->programs[i];
        if (p->role != role || p->head != (m->config->labels > 0 ? SAIL__HEAD_SCORE : SAIL__HEAD_LOGPROB) || p->training != keep)
            continue;
        double flops, bytes;
        sail_graph_count(p->graph, &d, &tables, 0, sail_graph_nodes(p->graph), &flops, &bytes);
        return flops;
    }
    return 0;
}

void sail__model_view_of(const sail__model *m, sail__role_kind role, sail__model_view *out)
{
    *out = (sail__model_view){.rt = m->rt, .config = m->config, .spec = &m->view[role], .bind = m->bind, .n_bind = m->n_bind};
}
