/* peft.c - reading adapter_config.json and adapter_model.safetensors. The tensors decide which modules are adapted; the
 * config gives their scale; both must agree. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "peft.h"
#include "safetensors.h"

enum { LARGEST_CONFIG = 16 << 20 };

static const char prefix[] = "base_model.model.";

static sail_code no_memory(const char *dir, sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for the adapter", dir);
}

/* ---- what the config may say ---- */

static bool nothing(const sail_node *n)
{
    switch (n->kind) {
    case SAIL_NODE_NULL:
        return true;
    case SAIL_NODE_BOOL:
        return !n->boolean;
    case SAIL_NODE_STRING:
        return n->string.len == 0;
    case SAIL_NODE_LIST:
    case SAIL_NODE_MAP:
        return n->list.n == 0;
    default:
        return false;
    }
}

/* Some ways of initialising also change the base's weights, which then are not the ones in the base's files. */
static bool plain_init(const sail_node *n)
{
    static const char *const changing[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    if (n->kind != SAIL_NODE_STRING)
        return true;
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        if (!strncmp(n->string.data, changing[i], strlen(changing[i])))
            return false;
    return true;
}

/* Fields that are read, or that change nothing about what the adapter computes. Any other one must be off: what is not
 * known here may well change the result. */
static sail_code check_fields(const char *path, const sail_node *config, sail_err *err)
{
    static const char *const known[] = {"alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias",
                                        "corda_config",  "eva_config",   "inference_mode",          "init_lora_weights",
                                        "lora_alpha",    "lora_dropout", "megatron_core",           "modules_to_save",
                                        "peft_type",     "peft_version", "qalora_group_size",       "r",
                                        "rank_pattern",  "revision",     "runtime_config",          "target_modules",
                                        "task_type",     "use_rslora"};
    if (config->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_FORMAT, "%s: a JSON object was expected", path);
    for (size_t i = 0; i < config->list.n; i++) {
        const char *key = config->list.keys[i];
        const sail_node *n = config->list.items[i];
        if (!sail__among(key, known, sizeof known / sizeof known[0]) && !nothing(n))
            return sail_fail(err, SAIL_E_FORMAT, "%s: %s is set, which is not supported", path, key);
        if (!strcmp(key, "init_lora_weights") && !plain_init(n))
            return sail_fail(err, SAIL_E_FORMAT,
                             "%s: init_lora_weights \"%.40s\" changes the base model's weights, which is not "
                             "supported",
                             path, n->string.data);
    }
    const sail_node *type = sail__node_get(config, "peft_type"), *bias = sail__node_get(config, "bias");
    if (!type || type->kind != SAIL_NODE_STRING || strcmp(type->string.data, "LORA"))
        return sail_fail(err, SAIL_E_FORMAT, "%s: peft_type: only \"LORA\" is supported", path);
    if (bias && !nothing(bias) && (bias->kind != SAIL_NODE_STRING || strcmp(bias->string.data, "none")))
        return sail_fail(err, SAIL_E_FORMAT, "%s: bias: only \"none\" is supported", path);
    return SAIL_OK;
}

/* A name, not a regular expression. */
static bool plain_name(const char *s)
{
    return *s && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.") == strlen(s);
}

static sail_code names(sail_arena *a, const char *path, const sail_node *config, const char *field,
                       const char *const **out, size_t *n, sail_err *err)
{
    const sail_node *list = sail__node_get(config, field);
    *out = NULL;
    *n = 0;
    if (!list || list->kind == SAIL_NODE_NULL)
        return SAIL_OK;
    if (list->kind != SAIL_NODE_LIST)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s: a list of module names was expected%s", path, field,
                         list->kind == SAIL_NODE_STRING ? " (a regular expression is not supported)" : "");
    const char **items = sail__arena_array(a, list->list.n, sizeof *items);
    if (!items)
        return no_memory(path, err);
    for (size_t i = 0; i < list->list.n; i++) {
        const sail_node *s = list->list.items[i];
        if (s->kind != SAIL_NODE_STRING || !plain_name(s->string.data))
            return sail_fail(err, SAIL_E_FORMAT, "%s: %s[%zu]: the name of a module was expected", path, field, i);
        items[i] = s->string.data;
    }
    *out = items;
    *n = list->list.n;
    return SAIL_OK;
}

static sail_code patterns(sail_arena *a, const char *path, const sail_node *config, const char *field, bool whole,
                          const sail__peft_pattern **out, size_t *n, sail_err *err)
{
    const sail_node *map = sail__node_get(config, field);
    *out = NULL;
    *n = 0;
    if (!map || map->kind == SAIL_NODE_NULL)
        return SAIL_OK;
    if (map->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s: a map from module names to numbers was expected", path, field);
    sail__peft_pattern *p = sail__arena_array(a, map->list.n, sizeof *p);
    if (!p)
        return no_memory(path, err);
    for (size_t i = 0; i < map->list.n; i++) {
        const sail_node *v = map->list.items[i];
        p[i].key = map->list.keys[i];
        p[i].value = v->kind == SAIL_NODE_INT ? (double)v->integer : v->kind == SAIL_NODE_FLOAT ? v->number : 0;
        if (!plain_name(p[i].key))
            return sail_fail(err, SAIL_E_FORMAT,
                             "%s: %s: \"%.80s\" is a regular expression, which is not supported; the end of "
                             "a module's name was expected",
                             path, field, p[i].key);
        if (!(p[i].value > 0 && p[i].value < 1e9) || (whole && v->kind != SAIL_NODE_INT))
            return sail_fail(err, SAIL_E_FORMAT, "%s: %s.%s: a positive %s was expected", path, field, p[i].key,
                             whole ? "integer" : "number");
    }
    *out = p;
    *n = map->list.n;
    return SAIL_OK;
}

static sail_code targets(sail_arena *a, const char *path, const sail_node *config, sail__peft *p, sail_err *err)
{
    const sail_node *t = sail__node_get(config, "target_modules");
    if (t && t->kind == SAIL_NODE_STRING && !strcmp(t->string.data, "all-linear")) {
        p->all_linear = true;
        return SAIL_OK;
    }
    SAIL_TRY(names(a, path, config, "target_modules", &p->targets, &p->n_targets, err));
    if (!p->n_targets)
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: target_modules: a list of module names or \"all-linear\" was expected", path);
    return SAIL_OK;
}

static sail_code read_config(sail_arena *a, const char *path, sail__peft *p, sail_err *err)
{
    sail_node *config;
    SAIL_TRY(sail__json_read(a, path, LARGEST_CONFIG, &config, err));
    SAIL_TRY(check_fields(path, config, err));
    const sail_node *r = sail__node_get(config, "r"), *alpha = sail__node_get(config, "lora_alpha");
    const sail_node *dropout = sail__node_get(config, "lora_dropout"), *rs = sail__node_get(config, "use_rslora");
    const sail_node *base = sail__node_get(config, "base_model_name_or_path"),
                    *task = sail__node_get(config, "task_type");
    if (!r || !alpha)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s is missing", path, r ? "lora_alpha" : "r");
    SAIL_TRY(sail__node_as_int(r, "r", &p->rank, err));
    SAIL_TRY(sail__node_as_double(alpha, "lora_alpha", &p->alpha, err));
    if (p->rank < 1 || p->rank > 1 << 20 || !(p->alpha > 0 && p->alpha < 1e9))
        return sail_fail(err, SAIL_E_FORMAT, "%s: r should be from 1 to %d, and lora_alpha positive and below 1e9", path, 1 << 20);
    if (dropout && dropout->kind != SAIL_NODE_NULL)
        SAIL_TRY(sail__node_as_double(dropout, "lora_dropout", &p->dropout, err));
    if (!(p->dropout >= 0 && p->dropout < 1))
        return sail_fail(err, SAIL_E_FORMAT, "%s: lora_dropout: a number from 0 to less than 1 was expected", path);
    if (rs && rs->kind != SAIL_NODE_NULL)
        SAIL_TRY(sail__node_as_bool(rs, "use_rslora", &p->rslora, err));
    p->base = base && base->kind == SAIL_NODE_STRING ? base->string.data : NULL;
    p->task_type = task && task->kind == SAIL_NODE_STRING ? task->string.data : NULL;
    SAIL_TRY(targets(a, path, config, p, err));
    SAIL_TRY(names(a, path, config, "modules_to_save", &p->save_names, &p->n_save_names, err));
    SAIL_TRY(patterns(a, path, config, "rank_pattern", true, &p->rank_pattern, &p->n_rank_pattern, err));
    return patterns(a, path, config, "alpha_pattern", false, &p->alpha_pattern, &p->n_alpha_pattern, err);
}

/* ---- which settings a module has ---- */

/* The dotted name is the key or ends with it after a dot. */
static bool ends_with(const char *name, const char *key)
{
    size_t n = strlen(name), k = strlen(key);
    return n >= k && !strcmp(name + n - k, key) && (n == k || name[n - k - 1] == '.');
}

static double pattern_value(const sail__peft_pattern *p, size_t n, const char *module, double usual)
{
    for (size_t i = 0; i < n; i++)
        if (ends_with(module, p[i].key))
            return p[i].value;
    return usual;
}

bool sail__peft_settings(const sail__peft *p, const char *module, int64_t *rank, double *alpha, double *scale)
{
    bool named = p->all_linear;
    for (size_t i = 0; i < p->n_targets; i++)
        named |= ends_with(module, p->targets[i]);
    *rank = (int64_t)pattern_value(p->rank_pattern, p->n_rank_pattern, module, (double)p->rank);
    *alpha = pattern_value(p->alpha_pattern, p->n_alpha_pattern, module, p->alpha);
    *scale = *alpha / (p->rslora ? sqrt((double)*rank) : (double)*rank);
    return named;
}

/* ---- tensors ---- */

/* The tensor's numbers as float32 in the arena. */
static sail_code floats(sail_arena *a, const sail__st_tensor *t, const float **out, sail_err *err)
{
    if (t->dtype != SAIL_F32 && t->dtype != SAIL_F16 && t->dtype != SAIL_BF16 && t->dtype != SAIL_F64)
        return sail_fail(err, SAIL_E_DTYPE, "%s: tensor %s has type %s; F32, F16 or BF16 was expected", t->file,
                         t->name, t->dtype_name);
    size_t n = t->bytes / sail_dtype_block_bytes(t->dtype);
    float *x = sail__arena_array(a, n, sizeof *x);
    void *aligned = sail__malloc(t->bytes ? t->bytes : 1);
    if (!x || !aligned) {
        sail__free(aligned);
        return no_memory(t->file, err);
    }
    memcpy(aligned, t->data, t->bytes);
    sail_code code = sail_to_f32(t->dtype, aligned, x, n, err);
    sail__free(aligned);
    *out = x;
    return code;
}

static const char *cut_end(sail_arena *a, const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n > k && !strcmp(name + n - k, end) ? sail__arena_strndup(a, name, n - k) : NULL;
}

static sail_code lora_pair(sail_arena *a, const sail__peft *p, const sail__safetensors *f, const sail__st_tensor *ta,
                           const char *module, sail__lora_module *out, sail_err *err)
{
    char shape[2][160];
    const char *b_name = sail__arena_printf(a, "%s%s.lora_B.weight", prefix, module);
    if (!b_name)
        return no_memory(ta->file, err);
    const sail__st_tensor *tb = sail__safetensors_find(f, b_name);
    if (!tb)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s is missing beside its lora_A", ta->file, b_name);
    *out = (sail__lora_module){.module = module};
    if (!sail__peft_settings(p, module, &out->rank, &out->alpha, &out->scale))
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: no entry of target_modules names its module", ta->file,
                         ta->name);
    if (ta->rank != 2 || tb->rank != 2 || ta->shape[0] != out->rank || tb->shape[1] != out->rank)
        return sail_fail(err, SAIL_E_SHAPE,
                         "%s: tensors %s: lora_A %s and lora_B %s; [%lld, in] and [out, %lld] were expected "
                         "for the config's rank",
                         ta->file, module, sail__st_shape(ta, shape[0], sizeof shape[0]),
                         sail__st_shape(tb, shape[1], sizeof shape[1]), (long long)out->rank, (long long)out->rank);
    out->in = ta->shape[1];
    out->out = tb->shape[0];
    SAIL_TRY(floats(a, ta, &out->a, err));
    return floats(a, tb, &out->b, err);
}

static sail_code saved(sail_arena *a, const sail__peft *p, const sail__st_tensor *t, sail__saved_module *out,
                       sail_err *err)
{
    const char *name = t->name + strlen(prefix), *module = cut_end(a, name, ".weight");
    bool named = false;
    if (!module)
        module = cut_end(a, name, ".bias");
    for (size_t i = 0; module && i < p->n_save_names; i++)
        named |= ends_with(module, p->save_names[i]);
    if (!named || strstr(name, ".lora_"))
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s is neither lora_A, lora_B nor one of modules_to_save",
                         t->file, t->name);
    if (t->rank < 1 || t->rank > 2)
        return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s has %d dimensions; 1 or 2 were expected", t->file, t->name,
                         t->rank);
    *out = (sail__saved_module){.name = sail__arena_strdup(a, name),
                                .rows = t->rank == 2 ? t->shape[0] : 1,
                                .cols = t->shape[t->rank - 1],
                                .vector = t->rank == 1};
    return out->name ? floats(a, t, &out->data, err) : no_memory(t->file, err);
}

static sail_code read_tensors(sail_arena *a, const sail__safetensors *f, const char *path, sail__peft *p, sail_err *err)
{
    size_t n = sail__safetensors_count(f), pairs = 0, seconds = 0, whole = 0;
    sail__lora_module *modules = sail__arena_array(a, n, sizeof *modules);
    sail__saved_module *rest = sail__arena_array(a, n, sizeof *rest);
    if (!modules || !rest)
        return no_memory(path, err);
    for (size_t i = 0; i < n; i++) {
        const sail__st_tensor *t = sail__safetensors_at(f, i);
        if (strncmp(t->name, prefix, strlen(prefix)))
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: its name should begin with %s", path, t->name, prefix);
        const char *module = cut_end(a, t->name + strlen(prefix), ".lora_A.weight");
        if (module) {
            SAIL_TRY(lora_pair(a, p, f, t, module, &modules[pairs], err));
            pairs++;
        } else if (cut_end(a, t->name, ".lora_B.weight")) {
            seconds++;
        } else {
            SAIL_TRY(saved(a, p, t, &rest[whole], err));
            whole++;
        }
    }
    if (seconds != pairs)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %zu lora_A and %zu lora_B tensors; each needs the other", path, pairs,
                         seconds);
    if (!pairs && !whole)
        return sail_fail(err, SAIL_E_FORMAT, "%s: no adapter tensors in it", path);
    p->modules = modules, p->n_modules = pairs;
    p->saved = rest, p->n_saved = whole;
    return SAIL_OK;
}

sail_code sail__peft_read(sail_arena *a, const char *dir, sail__peft *out, sail_err *err)
{
    *out = (sail__peft){0};
    const char *config = sail__path_join(a, dir, "adapter_config.json");
    const char *path = sail__path_join(a, dir, "adapter_model.safetensors");
    const char *pickle = sail__path_join(a, dir, "adapter_model.bin");
    if (!config || !path || !pickle)
        return no_memory(dir, err);
    if (!sail__file_exists(config))
        return sail_fail(err, SAIL_E_NOTFOUND, sail__file_exists(dir) && !sail__is_dir(dir) ? "%s: a file; the directory of a PEFT adapter was expected"
                         : "%s: no adapter_config.json in it; a PEFT adapter was expected", dir);
    if (!sail__file_exists(path) && sail__file_exists(pickle))
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: a PyTorch file is a Python pickle, which can run code when it is read: it is "
                         "refused; save the adapter as safetensors",
                         pickle);
    SAIL_TRY(read_config(a, config, out, err));
    sail__safetensors *f;
    SAIL_TRY(sail__safetensors_open(path, &f, err));
    sail_code code = read_tensors(a, f, path, out, err);
    sail__safetensors_close(f);
    return code;
}

/* ---- against a model ---- */

static const sail__param *find(const sail__param *params, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(params[i].name, name))
            return &params[i];
    return NULL;
}

void sail__peft_hash(const sail__peft *p, char out[33])
{
    sail__hasher h;
    sail__hasher_begin(&h);
    for (size_t i = 0; i < p->n_modules; i++) {
        const sail__lora_module *m = &p->modules[i];
        sail__hasher_text(&h, m->module);
        sail__hasher_number(&h, m->scale);
        sail__hasher_bytes(&h, m->a, (size_t)(m->rank * m->in) * sizeof *m->a);
        sail__hasher_bytes(&h, m->b, (size_t)(m->out * m->rank) * sizeof *m->b);
    }
    for (size_t i = 0; i < p->n_saved; i++) {
        sail__hasher_text(&h, p->saved[i].name);
        sail__hasher_bytes(&h, p->saved[i].data, (size_t)(p->saved[i].rows * p->saved[i].cols) * sizeof *p->saved[i].data);
    }
    sail__hasher_hex(&h, out);
}

sail_code sail__peft_fits(const sail__peft *p, const sail__param *params, size_t n, const char *dir, sail_err *err)
{
    for (size_t i = 0; i < p->n_modules; i++) {
        const sail__lora_module *m = &p->modules[i];
        const sail__param *w = sail__weight_of(params, n, m->module);
        if (!w || w->vector)
            return sail_fail(err, SAIL_E_SHAPE, "%s: the model has no linear layer %s", dir, m->module);
        if (w->rows != m->out || w->cols != m->in)
            return sail_fail(err, SAIL_E_SHAPE,
                             "%s: module %s adapts a matrix [%lld, %lld]; the model's is [%lld, %lld]", dir, m->module,
                             (long long)m->out, (long long)m->in, (long long)w->rows, (long long)w->cols);
    }
    for (size_t i = 0; i < p->n_saved; i++) {
        const sail__saved_module *s = &p->saved[i];
        const sail__param *w = find(params, n, s->name);
        if (!w)
            return sail_fail(err, SAIL_E_SHAPE, "%s: the model has no parameter %s", dir, s->name);
        if (w->rows != s->rows || w->cols != s->cols || w->vector != s->vector)
            return sail_fail(err, SAIL_E_SHAPE, "%s: saved parameter %s is [%lld, %lld]; the model's is [%lld, %lld]",
                             dir, s->name, (long long)s->rows, (long long)s->cols, (long long)w->rows,
                             (long long)w->cols);
    }
    return SAIL_OK;
}

static sail_code reorder(sail_arena *a, const float **data, int64_t rows, int64_t cols, const sail__model_config *c, sail__role role,
                         bool to_file, sail_err *err)
{
    float *copy = sail__arena_array(a, (size_t)(rows * cols), sizeof *copy);
    if (!copy)
        return no_memory("adapter", err);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t from = to_file ? sail__param_row_of_file(c, role, i) : sail__param_file_row(c, role, i);
        memcpy(copy + i * cols, *data + from * cols, (size_t)cols * sizeof *copy);
    }
    *data = copy;
    return SAIL_OK;
}

sail_code sail__peft_reorder(sail_arena *a, sail__peft *p, const sail__model_config *c, const sail__param *params, size_t n,
                             bool to_file, sail_err *err)
{
    sail__lora_module *modules = sail__arena_array(a, p->n_modules + 1, sizeof *modules);
    sail__saved_module *whole = sail__arena_array(a, p->n_saved + 1, sizeof *whole);
    if (!modules || !whole)
        return no_memory("adapter", err);
    for (size_t i = 0; i < p->n_modules; i++) {
        const sail__param *w = sail__weight_of(params, n, p->modules[i].module);
        modules[i] = p->modules[i];
        if (w && sail__param_reordered(c, w->role))
            SAIL_TRY(reorder(a, &modules[i].b, modules[i].out, modules[i].rank, c, w->role, to_file, err));
    }
    for (size_t i = 0; i < p->n_saved; i++) {
        const sail__param *w = find(params, n, p->saved[i].name);
        whole[i] = p->saved[i];
        if (w && sail__param_reordered(c, w->role))
            SAIL_TRY(reorder(a, &whole[i].data, w->vector ? w->cols : w->rows, w->vector ? 1 : w->cols, c, w->role, to_file, err));
    }
    p->modules = modules;
    p->saved = whole;
    return SAIL_OK;
}
