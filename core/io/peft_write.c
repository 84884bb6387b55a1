/* peft_write.c - writing an adapter as peft keeps it. Only fields that every release of peft since rslora knows are
 * written, so that none of them warns about an unknown one. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "peft.h"
#include "safetensors.h"

static sail_code no_memory(const char *dir, sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write the adapter", dir);
}

/* ---- the config ---- */

static void text(sail_buf *b, const char *s)
{
    if (s)
        sail__json_quote(b, s, strlen(s));
    else
        sail__buf_str(b, "null");
}

static void number(sail_buf *b, double v)
{
    sail__buf_printf(b, v == floor(v) && fabs(v) < 1e15 ? "%.0f" : "%.17g", v);
}

/* Patterns of the caller's, after those that modules of another rank or alpha need: the first match counts. */
static void patterns(sail_buf *b, const sail__peft *p, bool ranks)
{
    const sail__peft_pattern *own = ranks ? p->rank_pattern : p->alpha_pattern;
    size_t n = ranks ? p->n_rank_pattern : p->n_alpha_pattern, written = 0;
    sail__buf_str(b, "{");
    for (size_t i = 0; i < p->n_modules; i++) {
        const sail__lora_module *m = &p->modules[i];
        int64_t rank;
        double alpha, scale;
        sail__peft_settings(p, m->module, &rank, &alpha, &scale);
        if (ranks ? rank == m->rank : fabs(alpha - m->alpha) <= 1e-6 * alpha) /* it may come from a rounded scale */
            continue;
        sail__buf_str(b, written++ ? ", " : "");
        text(b, m->module);
        sail__buf_str(b, ": ");
        number(b, ranks ? (double)m->rank : m->alpha);
    }
    for (size_t i = 0; i < n; i++) {
        sail__buf_str(b, written++ ? ", " : "");
        text(b, own[i].key);
        sail__buf_str(b, ": ");
        number(b, own[i].value);
    }
    sail__buf_str(b, "}");
}

static void targets(sail_buf *b, const sail__peft *p)
{
    sail__buf_str(b, "[");
    for (size_t i = 0; i < p->n_targets; i++) {
        sail__buf_str(b, i ? ", " : "");
        text(b, p->targets[i]);
    }
    for (size_t i = 0; !p->n_targets && i < p->n_modules; i++) {
        sail__buf_str(b, i ? ", " : "");
        text(b, p->modules[i].module);
    }
    sail__buf_str(b, "]");
}

static void save_names(sail_buf *b, const sail__peft *p)
{
    if (!p->n_saved && !p->n_save_names) {
        sail__buf_str(b, "null");
        return;
    }
    sail__buf_str(b, "[");
    for (size_t i = 0; i < p->n_save_names; i++) {
        sail__buf_str(b, i ? ", " : "");
        text(b, p->save_names[i]);
    }
    for (size_t i = 0; !p->n_save_names && i < p->n_saved; i++) { /* weight and bias of a module: once */
        const char *name = p->saved[i].name, *dot = strrchr(name, '.');
        size_t n = dot ? (size_t)(dot - name) : strlen(name);
        bool before = false;
        for (size_t k = 0; k < i; k++)
            before |= !strncmp(p->saved[k].name, name, n) && strrchr(p->saved[k].name, '.') == p->saved[k].name + n;
        if (before)
            continue;
        sail__buf_str(b, i ? ", " : "");
        sail__json_quote(b, name, n);
    }
    sail__buf_str(b, "]");
}

static void config(sail_buf *b, const sail__peft *p)
{
    sail__buf_str(b, "{\n  \"alpha_pattern\": ");
    patterns(b, p, false);
    sail__buf_str(b, ",\n  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    text(b, p->base);
    sail__buf_str(b, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n"
                     "  \"init_lora_weights\": true,\n  \"layers_pattern\": null,\n  \"layers_to_transform\": null,\n"
                     "  \"lora_alpha\": ");
    number(b, p->alpha);
    sail__buf_printf(b, ",\n  \"lora_dropout\": %.17g,\n  \"modules_to_save\": ", p->dropout);
    save_names(b, p);
    sail__buf_printf(b, ",\n  \"peft_type\": \"LORA\",\n  \"r\": %lld,\n  \"rank_pattern\": ", (long long)p->rank);
    patterns(b, p, true);
    sail__buf_str(b, ",\n  \"revision\": null,\n  \"target_modules\": ");
    targets(b, p);
    sail__buf_str(b, ",\n  \"task_type\": ");
    text(b, p->task_type ? p->task_type : "CAUSAL_LM");
    sail__buf_printf(b, ",\n  \"use_rslora\": %s\n}\n", p->rslora ? "true" : "false");
}

/* ---- the tensors ---- */

struct piece {
    const float *data;
    size_t n;
};

static sail_code write_tensors(const char *path, const sail__st_entry *entries, const struct piece *pieces, size_t n,
                               sail_dtype dtype, sail_err *err)
{
    enum { CHUNK = 1 << 16 };
    sail__st_writer *w;
    unsigned char *buffer = sail__malloc(CHUNK * sizeof(float));
    if (!buffer)
        return no_memory(path, err);
    sail_code code = sail__st_begin(path, entries, n, NULL, &w, err);
    for (size_t i = 0; i < n && code == SAIL_OK; i++)
        for (size_t at = 0; at < pieces[i].n && code == SAIL_OK; at += CHUNK) {
            size_t count = pieces[i].n - at < CHUNK ? pieces[i].n - at : CHUNK;
            code = sail_from_f32(dtype, pieces[i].data + at, buffer, count, err);
            if (code == SAIL_OK)
                code = sail__st_write(w, buffer, count * sail_dtype_block_bytes(dtype), err);
            if (code != SAIL_OK)
                sail__st_abort(w);
        }
    if (code == SAIL_OK)
        code = sail__st_commit(w, err);
    sail__free(buffer);
    return code;
}

static sail_code save(sail_arena *a, const char *path, const sail__peft *p, sail_dtype dtype, sail_err *err)
{
    size_t n = 0, most = 2 * p->n_modules + p->n_saved;
    sail__st_entry *e = sail__arena_array(a, most, sizeof *e);
    struct piece *pieces = sail__arena_array(a, most, sizeof *pieces);
    if (!e || !pieces)
        return no_memory(path, err);
    for (size_t i = 0; i < p->n_modules; i++) {
        const sail__lora_module *m = &p->modules[i];
        for (int half = 0; half < 2; half++) {
            e[n] = (sail__st_entry){
                .name = sail__arena_printf(a, "base_model.model.%s.lora_%c.weight", m->module, half ? 'B' : 'A'),
                .dtype = dtype,
                .rank = 2};
            e[n].shape[0] = half ? m->out : m->rank;
            e[n].shape[1] = half ? m->rank : m->in;
            pieces[n] = (struct piece){half ? m->b : m->a, (size_t)(e[n].shape[0] * e[n].shape[1])};
            if (!e[n++].name)
                return no_memory(path, err);
        }
    }
    for (size_t i = 0; i < p->n_saved; i++, n++) {
        const sail__saved_module *s = &p->saved[i];
        e[n] = (sail__st_entry){.name = sail__arena_printf(a, "base_model.model.%s", s->name),
                                .dtype = dtype,
                                .rank = s->vector ? 1 : 2,
                                .shape = {s->vector ? s->cols : s->rows, s->cols}};
        pieces[n] = (struct piece){s->data, (size_t)(s->rows * s->cols)};
        if (!e[n].name)
            return no_memory(path, err);
    }
    return write_tensors(path, e, pieces, n, dtype, err);
}

sail_code sail__peft_write(const char *dir, const sail__peft *p, sail_dtype dtype, sail_err *err)
{
    if (dtype != SAIL_F32 && dtype != SAIL_BF16)
        return sail_fail(err, SAIL_E_DTYPE, "%s: an adapter is written as f32 or bf16, not %s", dir,
                         sail_dtype_name(dtype));
    for (size_t i = 0; p->n_targets && i < p->n_modules; i++) {
        int64_t rank;
        double alpha, scale;
        if (!sail__peft_settings(p, p->modules[i].module, &rank, &alpha, &scale))
            return sail_fail(err, SAIL_E_ARG, "%s: no target names the module %s", dir, p->modules[i].module);
    }
    SAIL_TRY(sail__make_dirs(dir, err));
    sail_arena *a = sail__arena_new();
    const char *path = a ? sail__path_join(a, dir, "adapter_model.safetensors") : NULL;
    const char *config_path = a ? sail__path_join(a, dir, "adapter_config.json") : NULL;
    sail_code code = path && config_path ? save(a, path, p, dtype, err) : no_memory(dir, err);
    sail_buf b = {0};
    if (code == SAIL_OK) {
        config(&b, p);
        code = b.oom ? no_memory(dir, err) : sail__file_write(config_path, b.data, b.len, err);
    }
    sail__buf_free(&b);
    sail__arena_free(a);
    return code;
}
