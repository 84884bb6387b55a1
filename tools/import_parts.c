/* import_parts.c - what several keys of the other's configuration say together: model, data, batch, schedule, objective. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"
#include "io/hub.h"

static bool trl(const sail__import *x) { return x->from == SAIL__FROM_TRL; }
static const sail_node *at(const sail__import *x, const char *key) { return sail__node_get(x->source, key); }

/* One of two keys, the first where both are there; "" where neither is. */
static const char *either(sail__import *x, const char *a, const char *b) { return sail__import_get(x, a) ? a : sail__import_get(x, b) ? b : ""; }

static void add_text(sail__import *x, sail_node *list, const sail_node *from, const char *text)
{
    sail_node *n = sail__import_string(x, from, text);
    if (n && list)
        sail__node_append(x->c->arena, list, n);
}

/* A file of the other's: from here, or from beside its configuration; NULL: neither is there. */
static const char *local(sail__import *x, const char *name)
{
    const char *dir = sail__path_dir(x->c->arena, x->path), *beside = dir ? sail__path_join(x->c->arena, dir, name) : NULL;
    const char *found = sail__file_exists(name) || sail__is_dir(name) ? name : beside && (sail__file_exists(beside) || sail__is_dir(beside)) ? beside : NULL;
    char real[PATH_MAX];
    return found && realpath(found, real) ? sail__arena_strdup(x->c->arena, real) : NULL;
}

/* ---- model ---- */

static void put_path(sail__import *x, const char *key, const char *to, const char *otherwise)
{
    const char *name = sail__import_text(x, key, NULL), *found = name ? local(x, name) : NULL;
    if (!name)
        return;
    if (!found)
        sail__import_say(x, key, "%s is not here: %s", name, otherwise);
    sail__import_put_text(x, at(x, key), to, found ? found : name);
}

/* OWNER/NAME that is not here is the hub's, as it is to them. */
static void base(sail__import *x)
{
    const char *key = "model_name_or_path", *name = sail__import_text(x, key, NULL), *revision = sail__import_text(x, "model_revision", "main");
    const char *whole = name ? sail__arena_printf(x->c->arena, "%s@%s", name, revision) : NULL;
    sail__hub_name hub = {0};
    sail_err ignored = {0};
    if (whole && !local(x, name) && sail__hub_parse(x->c->arena, whole, &hub, &ignored) == SAIL_OK && !hub.dataset && !hub.file) {
        const char *text = sail__hub_text(x->c->arena, &hub);
        sail__import_put_text(x, at(x, key), "model.path", text ? sail__arena_printf(x->c->arena, "hf:%s", text) : NULL);
        sail__import_say(x, key, "%s is taken from the Hugging Face cache: `sail pull %s` puts it there", name, text ? text : name);
        return;
    }
    put_path(x, key, "model.path", "name a Hugging Face directory or a GGUF file in model.path");
    if (at(x, "model_revision"))
        sail__import_say(x, "model_revision", "a model on disk is what it is: see that it is this revision");
}

static void dtype(sail__import *x)
{
    const char *key = either(x, "dtype", "torch_dtype"), *said = *key && trl(x) ? sail__import_text(x, key, "") : "";
    if (sail__import_flag(x, "bf16", false)) {
        sail__import_put_text(x, at(x, "bf16"), "model.dtype", "bf16");
    } else if (sail__import_flag(x, "fp16", false)) {
        sail__import_put_text(x, at(x, "fp16"), "model.dtype", "bf16");
        sail__import_say(x, "fp16", "bf16 is taken, which needs no loss scaling");
    } else if (strcmp(said, "float32") == 0 || at(x, "bf16")) {
        sail__import_put_text(x, at(x, *said ? key : "bf16"), "model.dtype", "f32");
    }
}

/* "q_proj,v_proj", a list, or all of them. */
static void targets(sail__import *x, const char *key)
{
    const sail_node *n = sail__import_get(x, key);
    const char *text = n && n->kind == SAIL_NODE_STRING ? n->string.data : NULL;
    if ((text && (strcmp(text, "all") == 0 || strcmp(text, "all-linear") == 0)) || (!n && !trl(x))) {
        sail__import_put_text(x, n, "model.adapter.targets", "all-linear");
        return;
    }
    if (!n)
        sail__import_say(x, "", "PEFT chooses the adapter's modules by architecture where none are named: q_proj and v_proj are written");
    if (n && !text) {
        sail__import_put(x, "model.adapter.targets", n);
        return;
    }
    sail_node *list = sail__cli_list(x->c);
    for (const char *s = text ? text : "q_proj,v_proj"; *s; s += strspn(s, ", ")) {
        const size_t len = strcspn(s, ", ");
        if (len)
            add_text(x, list, n, sail__arena_strndup(x->c->arena, s, len));
        s += len;
    }
    sail__import_put(x, "model.adapter.targets", list);
}

static void adapter(sail__import *x)
{
    static const char *const kinds[] = {"lora", "full", "freeze", "oft"};
    enum { LORA, FULL, KINDS = sizeof kinds / sizeof *kinds };
    const int kind = !trl(x) ? sail__import_choice(x, "finetuning_type", "lora", kinds, KINDS) : sail__import_flag(x, "use_peft", false) ? LORA : FULL;
    const char *rank_key = trl(x) ? "lora_r" : "lora_rank";
    if (kind > FULL)
        sail__import_say(x, "finetuning_type", "there are lora and full here; every parameter is trained");
    if (kind != LORA)
        return;
    const double rank = sail__import_number(x, rank_key, trl(x) ? 16 : 8), alpha = sail__import_number(x, "lora_alpha", trl(x) ? 32 : 2 * rank);
    sail__import_put_text(x, at(x, trl(x) ? "use_peft" : "finetuning_type"), "model.adapter.kind", "lora");
    sail__import_put_number(x, at(x, rank_key), "model.adapter.rank", rank);
    sail__import_put_number(x, at(x, "lora_alpha"), "model.adapter.alpha", alpha);
    sail__import_put_number(x, at(x, "lora_dropout"), "model.adapter.dropout", sail__import_number(x, "lora_dropout", trl(x) ? 0.05 : 0));
    targets(x, trl(x) ? "lora_target_modules" : "lora_target");
    if (sail__import_flag(x, "use_rslora", false))
        sail__import_put(x, "model.adapter.rslora", at(x, "use_rslora"));
}

static void template(sail__import *x)
{
    static const struct {
        const char *theirs, *ours;
    } known[] = {{"qwen", "chatml"}, {"chatml", "chatml"}, {"llama3", "llama3"}, {"llama2", "llama2"}, {"mistral", "mistral"}, {"gemma", "gemma"},
                 {"phi", "phi3"}, {"zephyr", "zephyr"}, {"vicuna", "vicuna"}};
    const char *name = trl(x) ? NULL : sail__import_text(x, "template", NULL);
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].theirs) == 0) {
            sail__import_put_text(x, at(x, "template"), "model.template", known[i].ours);
            return;
        }
    if (name)
        sail__import_say(x, "template", "no template has the name `%s` here: the model's own is used; model.template takes a name or a .jinja file, "
                         "`sail template MODEL` shows what comes out", name);
}

static void model(sail__import *x)
{
    base(x);
    if (!trl(x))
        put_path(x, "adapter_name_or_path", "model.adapter_path", "name a PEFT directory");
    dtype(x);
    adapter(x);
    template(x);
}

/* ---- data ---- */

static const char *column(const sail_node *columns, const char *name, const char *without)
{
    const sail_node *n = sail__node_get(columns, name);
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : without;
}

/* Records of instructions: their names for what the reader reads. */
static void fields(sail__import *x, const sail_node *info)
{
    const sail_node *columns = sail__node_get(info, "columns");
    const char *format = column(info, "formatting", "alpaca");
    const bool pairs = x->stage == SAIL__IMPORT_DPO || x->stage == SAIL__IMPORT_REWARD;
    if (strcmp(format, "alpaca") != 0)
        return;
    sail_node *prompt = sail__cli_list(x->c);
    add_text(x, prompt, info, column(columns, "prompt", "instruction"));
    add_text(x, prompt, info, column(columns, "query", "input"));
    sail__import_put(x, "data.fields.prompt", prompt);
    sail__import_put_text(x, info, pairs ? "data.fields.chosen" : "data.fields.completion",
                          pairs ? column(columns, "chosen", "chosen") : column(columns, "response", "output"));
    if (pairs)
        sail__import_put_text(x, info, "data.fields.rejected", column(columns, "rejected", "rejected"));
    if (x->stage == SAIL__IMPORT_KTO)
        sail__import_put_text(x, info, "data.fields.label", column(columns, "kto_tag", "kto_tag"));
}

/* Names in dataset_info.json, which says where each one's file is. */
static void named(sail__import *x, const char *key, const char *to)
{
    const sail_node *from = at(x, key);
    const char *names = sail__import_text(x, key, ""), *dir = sail__import_text(x, "dataset_dir", "data");
    const char *info_path = local(x, sail__path_join(x->c->arena, dir, "dataset_info.json"));
    sail_node *info = NULL, *list = sail__cli_list(x->c);
    sail_err err = {0};
    if (!*names)
        return;
    if (info_path && sail__json_read(x->c->arena, info_path, 64 << 20, &info, &err) != SAIL_OK)
        sail__import_say(x, key, "%s", err.message);
    for (const char *s = names; *s; s += strspn(s, ", ")) {
        const size_t len = strcspn(s, ", ");
        const char *name = sail__arena_strndup(x->c->arena, s, len), *folder = info_path ? sail__path_dir(x->c->arena, info_path) : dir;
        const sail_node *one = name ? sail__node_get(info, name) : NULL;
        const char *file = one ? column(one, "file_name", NULL) : NULL, *path = file ? sail__path_join(x->c->arena, folder, file) : name;
        if (!file)
            sail__import_say(x, key, "%s has no file in %s/dataset_info.json: put it into a file of its own (JSONL, JSON), and name that here", name, dir);
        else if (strcmp(key, "dataset") == 0 && s == names)
            fields(x, one);
        add_text(x, list, from, path);
        s += len;
    }
    sail__import_put(x, to, list && list->list.n == 1 ? list->list.items[0] : list);
}

static void mixture(sail__import *x)
{
    const sail_node *all = sail__import_get(x, "datasets");
    sail_node *list = sail__cli_list(x->c);
    for (size_t i = 0; all && all->kind == SAIL_NODE_LIST && i < all->list.n; i++) {
        const char *path = column(all->list.items[i], "path", NULL), *found = path ? local(x, path) : NULL;
        if (path && !found)
            sail__import_say(x, "datasets", "%s is not here: put it into a file (JSONL, JSON), and name that in data.train", path);
        if (path)
            add_text(x, list, all->list.items[i], found ? found : path);
    }
    if (list && list->list.n)
        sail__import_put(x, "data.train", list);
}

/* The others cut a whole sequence; here prompts and responses have limits of their own. */
static void lengths(sail__import *x)
{
    const char *whole_key = !trl(x) ? "cutoff_len" : either(x, "max_length", "max_seq_length");
    const double whole = sail__import_number(x, whole_key, trl(x) ? 1024 : 2048);
    const double prompt = sail__import_number(x, "max_prompt_length", whole > 1 ? floor(whole / 2) : 1);
    const double response = sail__import_number(x, "max_completion_length", whole - prompt > 1 ? whole - prompt : 1);
    static const char *const modes[] = {"keep_start", "keep_end"};
    enum { KEEP_END = 1, MODES };
    const int mode = trl(x) ? sail__import_choice(x, "truncation_mode", modes[0], modes, MODES) : 0;
    sail__import_put_number(x, at(x, trl(x) && at(x, "max_prompt_length") ? "max_prompt_length" : whole_key), "data.max_prompt", prompt);
    sail__import_put_number(x, at(x, at(x, "max_completion_length") ? "max_completion_length" : whole_key), "data.max_response", response);
    sail__import_put_text(x, at(x, "truncation_mode"), "data.truncate", mode == KEEP_END ? "start" : "end");
    if (!at(x, "max_completion_length"))
        sail__import_say(x, at(x, whole_key) ? whole_key : "", "%s cuts prompt and response together at %g tokens; here each has a limit of its own, "
                         "data.max_prompt and data.max_response", trl(x) ? "TRL" : "LLaMA-Factory", whole);
}

/* When something is done now and then. */
enum { NEVER, BY_STEPS, BY_EPOCH, IF_BEST };
static const char *const strategies[] = {"no", "steps", "epoch", "best"};

static void evaluation(sail__import *x)
{
    const char *key = either(x, "eval_strategy", "evaluation_strategy");
    const int when = sail__import_choice(x, key, "no", strategies, IF_BEST);
    const double share = sail__import_number(x, "val_size", 0);
    if (!trl(x) && share > 0 && share < 1)
        sail__import_put(x, "data.held_out", at(x, "val_size"));
    else if (!trl(x) && share >= 1)
        sail__import_say(x, "val_size", "a number of rows; data.held_out is a share of the prompts");
    if (!trl(x))
        named(x, "eval_dataset", "data.eval");
    if (when == BY_STEPS)
        sail__import_put_number(x, at(x, at(x, "eval_steps") ? "eval_steps" : key), "eval.every",
                                sail__import_number(x, "eval_steps", sail__import_number(x, "logging_steps", 500)));
    else if (when == BY_EPOCH)
        sail__import_say(x, key, "eval.every is a number of steps; before and after there is an evaluation anyway");
    if (trl(x) && when > NEVER) {
        sail__import_put_number(x, at(x, key), "data.held_out", 0.05);
        sail__import_say(x, key, "one prompt of twenty is held out of data.train for it; data.eval names a file");
    }
}

static void data(sail__import *x)
{
    if (!trl(x))
        named(x, "dataset", "data.train");
    else if (sail__import_get(x, "datasets"))
        mixture(x);
    else
        put_path(x, "dataset_name", "data.train", "put it into a file (JSONL, JSON), and name that in data.train");
    lengths(x);
    evaluation(x);
}

/* ---- steps ---- */

static void batch(sail__import *x)
{
    const double each = sail__import_number(x, "per_device_train_batch_size", 8), times = sail__import_number(x, "gradient_accumulation_steps", 1);
    sail__import_put_number(x, at(x, either(x, "per_device_train_batch_size", "gradient_accumulation_steps")), "train.batch", each * times);
    const double steps = sail__import_number(x, "max_steps", -1);
    if (steps > 0)
        sail__import_put(x, "train.steps", at(x, "max_steps"));
    else
        sail__import_put_number(x, at(x, "num_train_epochs"), "train.epochs", sail__import_number(x, "num_train_epochs", 3));
}

/* What else the scheduler is told; a rate at the end is a share here. */
static void schedule_numbers(sail__import *x, const char *name)
{
    static const char *const same[][3] = {{"cosine_with_restarts", "num_cycles", "train.schedule.cycles"},
                                          {"polynomial", "power", "train.schedule.power"},
                                          {"inverse_sqrt", "timescale", "train.schedule.timescale"},
                                          {"cosine_with_min_lr", "min_lr_rate", "train.schedule.floor"}};
    const sail_node *more = sail__import_get(x, "lr_scheduler_kwargs"), *rate = sail__node_find(x->recipe, "train.lr");
    const bool polynomial = strcmp(name, "polynomial") == 0, floored = strcmp(name, "cosine_with_min_lr") == 0;
    const sail_node *end = polynomial ? sail__node_get(more, "lr_end") : floored ? sail__node_get(more, "min_lr") : NULL;
    double lr = 0, last = polynomial ? 1e-7 : 0; /* transformers' own */
    size_t used = 0;
    sail_err err = {0};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const sail_node *v = strcmp(name, same[i][0]) == 0 ? sail__node_get(more, same[i][1]) : NULL;
        if (v)
            sail__import_put(x, same[i][2], v);
        used += v != NULL;
    }
    if (end && sail__node_as_double(end, "lr_scheduler_kwargs", &last, &err) != SAIL_OK)
        sail__problem_of(&x->problems, end, "lr_scheduler_kwargs", &err);
    else if (rate && sail__node_as_double(rate, "train.lr", &lr, &err) == SAIL_OK && lr > 0 && last > 0)
        sail__import_put_number(x, end ? end : at(x, "lr_scheduler_type"), "train.schedule.floor", last / lr);
    used += end != NULL;
    if (sail__import_off(more))
        return;
    if (more->kind != SAIL_NODE_MAP)
        sail__problem(&x->problems, more, "lr_scheduler_kwargs", "must be a map, such as {num_cycles: 2}");
    else if (used < more->list.n)
        sail__import_say(x, "lr_scheduler_kwargs", "not all of it has a counterpart: train.schedule has warmup, floor, and of their kinds cycles, power, timescale");
}

static void schedule(sail__import *x)
{
    static const char *const names[] = {"linear", "cosine", "constant", "constant_with_warmup", "cosine_with_min_lr", "cosine_with_restarts", "polynomial",
                                        "inverse_sqrt", "reduce_lr_on_plateau", "warmup_stable_decay"};
    static const char *const ours[] = {"linear", "cosine", "constant", "constant", "cosine", "cosine_with_restarts", "polynomial", "inverse_sqrt",
                                       "constant", "linear"};
    enum { EXACT = 8, ALL = sizeof names / sizeof *names };
    const int i = sail__import_choice(x, "lr_scheduler_type", names[0], names, ALL);
    const double steps = sail__import_number(x, "warmup_steps", 0), share = sail__import_number(x, "warmup_ratio", 0);
    if (i < 0)
        return;
    const char *name = names[i];
    if (share >= 1)
        sail__problem(&x->problems, at(x, "warmup_ratio"), "warmup_ratio", "is %g: a share of the steps below 1 is wanted (warmup_steps counts them)", share);
    if (i >= EXACT)
        sail__import_say(x, "lr_scheduler_type", "there is no %s: %s is the nearest", name, ours[i]);
    sail__import_put_text(x, at(x, "lr_scheduler_type"), "train.schedule.kind", ours[i]);
    if (steps > 0 && strcmp(name, "constant") != 0)
        sail__import_put(x, "train.schedule.warmup", sail__import_get(x, "warmup_steps"));
    else if (share > 0 && strcmp(name, "constant") != 0)
        sail__import_put(x, "train.schedule.warmup", sail__import_get(x, "warmup_ratio"));
    schedule_numbers(x, name);
}

static void optimizer(sail__import *x)
{
    const char *name = sail__import_text(x, "optim", "adamw_torch"), *kind = "adamw";
    const bool adam = strstr(name, "adam") != NULL && strstr(name, "adamax") == NULL;
    if (strcmp(name, "sgd") == 0)
        kind = "sgd";
    else if (strncmp(name, "rmsprop", 7) == 0)
        kind = "rmsprop";
    else if (!adam)
        sail__import_say(x, "optim", "there is no %s: adamw is taken; adafactor's rates are not adamw's", name);
    if (adam && (strstr(name, "8bit") || strstr(name, "paged") || strstr(name, "4bit")))
        sail__import_say(x, "optim", "moments are float32 and stay in memory: adamw");
    const sail_node *given = sail__node_find(x->recipe, "train.optimizer");
    const sail_node *decay = sail__node_get(given, "weight_decay");
    if (strcmp(kind, "adamw") != 0 && given) { /* its numbers are Adam's */
        sail__node_unset(sail__node_get(x->recipe, "train"), "optimizer");
        if (decay)
            sail__import_put(x, "train.optimizer.weight_decay", decay);
    }
    sail__import_put_text(x, at(x, "optim"), "train.optimizer.kind", kind);
}

/* ---- objective ---- */

typedef struct loss {
    const char *theirs, *ours;
    const char *option; /* that `label_smoothing` goes to; NULL: none */
} loss;
static const loss losses[] = {{"sigmoid", "sigmoid", NULL}, {"hinge", "hinge", NULL}, {"ipo", "ipo", NULL}, {"exo_pair", "exo_pair", "label_smoothing"},
                              {"nca_pair", "nca_pair", NULL}, {"robust", "robust", "label_smoothing"}, {"bco_pair", "bco_pair", NULL},
                              {"sppo_hard", "sppo_hard", NULL}, {"aot", "aot", "label_smoothing"}, {"aot_unpaired", "aot_unpaired", "label_smoothing"},
                              {"aot_pair", "aot", "label_smoothing"}, {"discopop", "discopop", NULL}, {"apo_zero", "apo_zero", NULL},
                              {"apo_down", "apo_down", NULL}, {"sft", "sft", NULL}, {"sigmoid_norm", "sigmoid_norm", NULL},
                              {"kto_pair", "kto", NULL}, {"orpo", "orpo", NULL}, {"simpo", "simpo", NULL}};
enum { LOSSES = sizeof losses / sizeof *losses, TRL_LOSSES = 16 };

static sail_node *slot(sail__import *x, const sail_node *from, const char *kind)
{
    sail_node *map = sail__cli_map(x->c), *name = sail__import_string(x, from, kind);
    if (!map || !name)
        return NULL;
    sail__cli_put(x->c, map, "kind", name);
    return map;
}

static void option(sail__import *x, sail_node *map, const char *key, const char *name)
{
    const sail_node *v = sail__import_get(x, key);
    if (v && map)
        sail__cli_put(x->c, map, name, sail__node_copy(x->c->arena, v));
}

/* One of DPO's losses with its options. NULL: it is none, which has been told. */
static sail_node *loss_slot(sail__import *x, const char *key, const sail_node *from, const char *name)
{
    const char *names[LOSSES], *smoothing = trl(x) ? "label_smoothing" : "dpo_label_smoothing";
    const int n = trl(x) ? TRL_LOSSES : LOSSES;
    for (int i = 0; i < n; i++) {
        names[i] = losses[i].theirs;
        if (strcmp(name, names[i]) != 0)
            continue;
        const bool smooth = sail__import_number(x, smoothing, 0) > 0, cautious = smooth && strcmp(name, "sigmoid") == 0;
        sail_node *map = slot(x, from, cautious ? "cdpo" : losses[i].ours);
        if (cautious)
            sail__import_say(x, smoothing, "sigmoid with smoothed labels is the objective cdpo here");
        if (cautious || losses[i].option)
            option(x, map, smoothing, "label_smoothing");
        else if (smooth)
            sail__import_say(x, smoothing, "%s smooths no labels", name);
        if (strcmp(name, "discopop") == 0)
            option(x, map, "discopop_tau", "discopop_tau");
        if (strcmp(name, "simpo") == 0)
            option(x, map, "simpo_gamma", "simpo_gamma");
        if (strcmp(name, "kto_pair") == 0) {
            option(x, map, "kto_chosen_weight", "desirable_weight");
            option(x, map, "kto_rejected_weight", "undesirable_weight");
        }
        return map;
    }
    sail__import_bad(x, key, name, names, (size_t)n);
    return NULL;
}

/* Several losses, or one with the likelihood of the chosen beside it. */
static void pairs(sail__import *x)
{
    const char *key = trl(x) ? "loss_type" : "pref_loss", *beside = trl(x) ? "rpo_alpha" : "pref_ftx";
    const sail_node *given = sail__import_get(x, key);
    const sail_node *theirs = trl(x) ? sail__import_get(x, "loss_weights") : NULL;
    const double likelihood = sail__import_number(x, beside, 0);
    sail_node *list = sail__cli_list(x->c), *weights = sail__cli_list(x->c);
    const bool several = given && given->kind == SAIL_NODE_LIST;
    for (size_t i = 0; list && i < (several ? given->list.n : 1); i++) {
        const sail_node *one = several ? given->list.items[i] : given;
        sail_node *made = loss_slot(x, key, one, !one ? "sigmoid" : one->kind == SAIL_NODE_STRING ? one->string.data : "");
        if (!made)
            return;
        sail__node_append(x->c->arena, list, made);
    }
    if (!list || !weights)
        return;
    if (likelihood > 0) {
        sail_node *one = sail__node_new(x->c->arena, SAIL_NODE_INT, "sail recipes import", 0, 0), *sft = slot(x, at(x, beside), "sft");
        if (!one || !sft)
            return;
        one->integer = 1;
        const bool weighed = theirs && theirs->kind == SAIL_NODE_LIST;
        for (size_t i = 0; i < (weighed ? theirs->list.n : list->list.n); i++)
            sail__node_append(x->c->arena, weights, weighed ? theirs->list.items[i] : one);
        sail__node_append(x->c->arena, list, sft);
        sail__node_append(x->c->arena, weights, sail__node_copy(x->c->arena, sail__import_get(x, beside)));
    }
    sail__import_put(x, "method.objective", list->list.n == 1 ? list->list.items[0] : list);
    if (weights->list.n)
        sail__import_put(x, "method.loss_weights", weights);
    else if (theirs)
        sail__import_put(x, "method.loss_weights", theirs);
}

static void contrastive(sail__import *x)
{
    static const char *const names[] = {"sigmoid", "hinge", "ipo", "simpo", "alphapo"};
    enum { SIMPO = 3, NAMES = sizeof names / sizeof *names };
    const int i = sail__import_choice(x, "loss_type", names[0], names, NAMES);
    if (i < 0)
        return;
    const bool simpo = i >= SIMPO;
    sail_node *map = slot(x, at(x, "loss_type"), simpo ? "simpo" : "cpo");
    if (!simpo && at(x, "loss_type"))
        option(x, map, "loss_type", "loss_type");
    option(x, map, "cpo_alpha", "cpo_alpha");
    if (simpo && !at(x, "cpo_alpha") && map) { /* TRL's default, which sail's simpo does not share */
        sail__import_put(x, "method.objective", map);
        sail__import_put_number(x, NULL, "method.objective.cpo_alpha", 1);
        map = sail__node_find(x->recipe, "method.objective");
    }
    if (simpo)
        option(x, map, "simpo_gamma", "simpo_gamma");
    option(x, map, "label_smoothing", "label_smoothing");
    option(x, map, "alpha", "alpha");
    sail__import_put(x, "method.objective", map);
}

static void objective(sail__import *x)
{
    sail_node *map = NULL;
    const char *stage = x->stage == SAIL__IMPORT_SFT ? "sft" : x->stage == SAIL__IMPORT_REWARD ? "reward" : "align";
    sail__import_put_text(x, at(x, "stage"), "stage", stage);
    switch (x->stage) {
    case SAIL__IMPORT_DPO: pairs(x); break;
    case SAIL__IMPORT_CPO: contrastive(x); break;
    case SAIL__IMPORT_ORPO: sail__import_put_text(x, NULL, "method.objective", "orpo"); break;
    case SAIL__IMPORT_KTO:
        map = slot(x, NULL, "kto");
        if (trl(x))
            option(x, map, "loss_type", "loss_type");
        option(x, map, trl(x) ? "desirable_weight" : "kto_chosen_weight", "desirable_weight");
        option(x, map, trl(x) ? "undesirable_weight" : "kto_rejected_weight", "undesirable_weight");
        sail__import_put(x, "method.objective", map);
        break;
    case SAIL__IMPORT_REWARD:
        map = slot(x, NULL, "reward");
        option(x, map, "center_rewards_coefficient", "center_rewards_coefficient");
        sail__import_put(x, "method.objective", map);
        break;
    default: break;
    }
}

/* ---- names, checkpoints ---- */

/* A run's name is letters, digits, . - _ */
static void name(sail__import *x)
{
    const char *dir = sail__import_text(x, "output_dir", NULL);
    size_t n = dir ? strlen(dir) : 0;
    while (n > 1 && dir[n - 1] == '/')
        n--;
    char *base = dir ? sail__arena_strdup(x->c->arena, sail__path_base(sail__arena_strndup(x->c->arena, dir, n))) : NULL;
    for (char *s = base; s && *s; s++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *s))
            *s = '-';
    if (base && *base && *base != '.') {
        sail__import_put_text(x, at(x, "output_dir"), "name", base);
        sail__import_say(x, "output_dir", "results go to runs/%s (keys `runs` and `name`)", base);
    }
}

static void steps_between(sail__import *x)
{
    const int when = sail__import_choice(x, "save_strategy", "steps", strategies, IF_BEST + 1);
    if (when != BY_STEPS) {
        sail__node_unset(sail__node_get(x->recipe, "checkpoint"), "every");
        if (when > NEVER)
            sail__import_say(x, "save_strategy", "checkpoint.every is a number of steps; at the end there is one anyway");
    } else if (sail__import_get(x, "save_steps")) {
        sail__import_put(x, "checkpoint.every", sail__import_get(x, "save_steps"));
    }
    if (sail__import_number(x, "logging_steps", 0) >= 1)
        sail__import_put(x, "train.log_every", sail__import_get(x, "logging_steps"));
}

sail_code sail__import_parts(sail__import *x, sail_err *err)
{
    name(x);
    model(x);
    data(x);
    batch(x);
    schedule(x);
    optimizer(x);
    objective(x);
    steps_between(x);
    return x->problems.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}
