/* cmd_data.c - sail data preview: rows as the model will see them, and why others were left out. */
#include <string.h>

#include "align/config.h"
#include "cli.h"
#include "io/data.h"
#include "recipe/recipe.h"

struct data {
    const char *reader, *template_name, *system, *stage;
    int64_t rows, max_prompt, max_response;
    int truncate, split;
    double held_out;
    bool ids;
};
static const char *const truncates[] = {"drop", "start", "end", NULL}, *const splits[] = {"all", "train", "held_out", NULL};
#define T struct data
static const sail_opt options[] = {
    SAIL_OPT_STR(T, reader, .def_str = "preference", .help = "NAME or {kind: NAME, …}; `sail plugins` lists the dataset plugins"),
    SAIL_OPT_INT(T, rows, .def = 3, .min = 0, .max = 1e9, .help = "rows shown; all are counted"),
    SAIL_OPT_INT(T, max_prompt, .min = 0, .max = 1e9, .unit = "tokens", .help = "as in a recipe; 0: no limit"),
    SAIL_OPT_INT(T, max_response, .min = 0, .max = 1e9, .unit = "tokens", .help = "as in a recipe; 0: no limit"),
    SAIL_OPT_CHOICE(T, truncate, .choices = truncates, .help = "what happens to what is too long"),
    SAIL_OPT_F64(T, held_out, .min = 0, .max = 1, .help = "share of prompts held out for evaluation"),
    SAIL_OPT_CHOICE(T, split, .choices = splits, .help = "which side of held_out"),
    SAIL_OPT_STR(T, template_name, .unit = "NAME", .help = "chat template, where not the model's own"),
    SAIL_OPT_STR(T, system, .help = "system message, where not the template's own"),
    SAIL_OPT_STR(T, stage, .unit = "NAME", .help = "of a recipe; unset: the first with data"),
    SAIL_OPT_BOOL(T, ids, .help = "show token ids too"),
    {0},
};
#undef T

/* Where rows come from and how they become tokens, from options or from a recipe. */
typedef struct plan {
    sail__data_options data;
    sail__encode_options encode;
    sail_slot reader;
    const char *model, *tokenizer_path, *template_name, *system;
    sail__tokenizer *tokenizer;
    sail__template *chat;
} plan;

static bool is_recipe(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".lua"));
}

static sail_code problem_error(const sail_problems *p, sail_err *err)
{
    if (p->n && err->code != SAIL_E_NOMEM)
        return sail__problems_fail(p, SAIL_E_USAGE, err);
    return err->code ? err->code : sail_fail(err, SAIL_E_USAGE, "wrong options");
}

static sail_code from_options(sail__cli *c, plan *p, sail_err *err)
{
    const struct data *o = c->options;
    sail_problems problems = {.arena = c->arena};
    sail_node *reader = NULL;
    SAIL_TRY(sail__yaml_parse(c->arena, o->reader, strlen(o->reader), "--reader", &reader, err));
    if (!sail__slot_parse(c->ctx, c->arena, SAIL_KIND_DATASET, reader, "--reader", NULL, NULL, &p->reader, &problems))
        return problem_error(&problems, err);
    p->data = (sail__data_options){.paths = c->args + 1, .n_paths = c->n_args - 1, .held_out = o->held_out, .split = o->split,
                                   .on_bad_row = SAIL__BAD_ROW_SKIP};
    p->encode = (sail__encode_options){.max_prompt = o->max_prompt, .max_response = o->max_response, .truncate = o->truncate};
    p->model = c->model.model;
    p->template_name = o->template_name;
    p->system = o->system;
    return SAIL_OK;
}

static const sail__stage *pick_stage(const sail__recipe *r, const char *name)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (name ? !strcmp(r->stages[i].name, name) : r->stages[i].data.train != NULL)
            return &r->stages[i];
    return NULL;
}

static sail_code from_recipe(sail__cli *c, const sail__recipe *r, plan *p, sail_err *err)
{
    const struct data *o = c->options;
    const sail__stage *s = pick_stage(r, o->stage);
    if (!s || !s->data.train)
        return sail_fail(err, SAIL_E_RECIPE, "%s: %s%s%s has no data.train", c->args[1], o->stage ? "stage `" : "no stage", o->stage ? o->stage : "",
                         o->stage ? "`" : "");
    const sail_node *files = s->data.train;
    size_t n = files->kind == SAIL_NODE_LIST ? files->list.n : 1;
    const char **paths = sail__arena_array(c->arena, n + 1, sizeof *paths);
    if (!paths)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        SAIL_TRY(sail__node_as_string(files->kind == SAIL_NODE_LIST ? files->list.items[i] : files, "data.train", &paths[i], err));
    p->reader = s->reader;
    p->data = (sail__data_options){.paths = paths, .n_paths = n, .held_out = s->data.eval ? 0 : s->data.held_out, .split = SAIL__SPLIT_TRAIN,
                                   .on_bad_row = s->data.on_bad_row, .max_rows = s->data.max_rows};
    p->encode = (sail__encode_options){.max_prompt = s->data.max_prompt, .max_response = s->data.max_response, .truncate = s->data.truncate};
    p->model = c->model.model ? c->model.model : s->model.path;
    p->tokenizer_path = s->model.tokenizer;
    p->template_name = s->model.template_name;
    p->system = s->model.system;
    return SAIL_OK;
}

/* ---- showing ---- */

static void show_text(sail__cli *c, const char *label, const char *text, size_t n_tokens, const char *note)
{
    sail__cli_line(c, "  %s%s%s%s (%zu tokens%s)", sail__tone_code(c, SAIL__CYAN), label, sail__tone_code(c, SAIL__PLAIN), "", n_tokens, note);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        sail__cli_line(c, "    %.*s", (int)n, at);
        at += n + (at[n] == '\n');
    }
}

typedef struct field {
    const char *name;
    const int32_t *ids;
    size_t n;
    bool cut;
} field;

static sail_code show(sail__cli *c, const plan *p, const sail_row *row, const sail__encoded *e, sail_node *list, sail_err *err)
{
    const struct data *o = c->options;
    const field fields[] = {{"prompt", e->prompt, e->n_prompt, e->cut_prompt},
                            {"chosen", e->chosen, e->n_chosen, e->cut_chosen},
                            {"rejected", e->rejected, e->n_rejected, e->cut_rejected}};
    sail_node *map = sail__cli_map(c);
    sail__cli_put_string(c, map, "file", row->file);
    sail__cli_put_int(c, map, "line", row->line);
    if (!c->json)
        sail__cli_line(c, "%s%s:%lld%s", sail__tone_code(c, SAIL__BOLD), row->file, (long long)row->line, sail__tone_code(c, SAIL__PLAIN));
    for (size_t i = 0; i < 3; i++) {
        sail_buf text = {0};
        if (!fields[i].ids)
            continue;
        sail_code code = p->tokenizer ? sail__decode(p->tokenizer, fields[i].ids, fields[i].n, i ? SAIL__DECODE_CONTINUATION : 0u, &text, err) : SAIL_OK;
        sail_node *ids = sail__cli_list(c), *part = sail__cli_map(c);
        for (size_t k = 0; ids && k < fields[i].n; k++) {
            sail_node *id = sail__node_new(c->arena, SAIL_NODE_INT, "sail", 0, 0);
            if (!id || !sail__node_append(c->arena, ids, id))
                break;
            id->integer = fields[i].ids[k];
        }
        sail__cli_put_string(c, part, "text", text.data ? text.data : "");
        sail__cli_put(c, part, "ids", ids);
        sail__cli_put_bool(c, part, "cut", fields[i].cut);
        sail__cli_put(c, map, fields[i].name, part);
        if (!c->json && code == SAIL_OK)
            show_text(c, fields[i].name, text.data ? text.data : "", fields[i].n, fields[i].cut ? ", cut" : "");
        if (!c->json && o->ids && ids) {
            sail_buf b = {0};
            sail__node_to_json(&b, ids);
            sail__cli_line(c, "    %s%s%s", sail__tone_code(c, SAIL__DIM), b.data ? b.data : "", sail__tone_code(c, SAIL__PLAIN));
            sail__buf_free(&b);
        }
        sail__buf_free(&text);
        SAIL_TRY(code);
    }
    if (map)
        sail__node_append(c->arena, list, map);
    return SAIL_OK;
}

static sail_code summary(sail__cli *c, const sail__rows *r, sail_node *shown, sail_err *err)
{
    double prompt = 0, response = 0, responses = 0;
    for (size_t i = 0; i < r->n; i++) {
        prompt += (double)r->encoded[i].n_prompt;
        response += (double)(r->encoded[i].n_chosen + r->encoded[i].n_rejected);
        responses += (r->encoded[i].chosen != NULL) + (r->encoded[i].rejected != NULL);
    }
    if (!c->json) {
        sail_buf b = {0};
        sail__drops_print(&r->drops, r->records, &b);
        sail__cli_line(c, "%zu of %lld rows can be used; mean prompt %.1f tokens, mean response %.1f tokens", r->n, (long long)r->records,
                       r->n ? prompt / (double)r->n : 0, responses > 0 ? response / responses : 0);
        while (b.len && b.data[b.len - 1] == '\n')
            b.data[--b.len] = '\0';
        if (b.len)
            sail__cli_line(c, "%s", b.data);
        sail__buf_free(&b);
        return SAIL_OK;
    }
    sail_node *out = sail__cli_map(c), *drops = sail__cli_list(c);
    sail__cli_put_int(c, out, "records", r->records);
    sail__cli_put_int(c, out, "used", (int64_t)r->n);
    for (size_t i = 0; drops && i < r->drops.n; i++) {
        sail_node *d = sail__cli_map(c);
        sail__cli_put_string(c, d, "reason", r->drops.items[i].reason);
        sail__cli_put_int(c, d, "rows", r->drops.items[i].n);
        if (d)
            sail__node_append(c->arena, drops, d);
    }
    sail__cli_put(c, out, "dropped", drops);
    sail__cli_put(c, out, "rows", shown);
    return sail__cli_print_json(c, out, err);
}

static sail_code preview(sail__cli *c, plan *p, sail_err *err)
{
    const struct data *o = c->options;
    sail__rows rows = {0};
    const char *tokenizer = p->tokenizer_path ? p->tokenizer_path : p->model;
    if (tokenizer)
        SAIL_TRY(sail__cli_tokenizer(tokenizer, &p->tokenizer, err));
    if (p->tokenizer)
        SAIL_TRY(sail__template_for(p->tokenizer, p->template_name, p->system, &p->chat, err));
    p->encode.tokenizer = p->tokenizer;
    p->encode.chat = p->chat;
    p->data.reader = &p->reader;
    sail_code code = sail__rows_load(&p->data, &p->encode, &rows, err);
    sail_node *list = sail__cli_list(c);
    if (code == SAIL_OK && !list)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; code == SAIL_OK && i < rows.n && (int64_t)i < o->rows; i++)
        code = show(c, p, rows.rows[i], &rows.encoded[i], list, err);
    if (code == SAIL_OK)
        code = summary(c, &rows, list, err);
    sail__rows_free(&rows);
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    plan p = {0};
    sail__recipe *r = NULL;
    sail_code code;
    if (c->n_args < 2)
        return sail_fail(err, SAIL_E_USAGE, "which data? usage: sail data preview FILE… | RECIPE [key=value …]");
    if (is_recipe(c->args[1])) {
        sail_problems problems = {.arena = c->arena};
        code = sail__recipe_load(c->ctx, c->args[1], c->args + 2, c->n_args - 2, &problems, &r, err);
        if (code != SAIL_OK)
            return problem_error(&problems, err);
        code = from_recipe(c, r, &p, err);
    } else {
        code = from_options(c, &p, err);
    }
    if (code == SAIL_OK)
        code = preview(c, &p, err);
    sail__template_free(p.chat);
    sail__tokenizer_free(p.tokenizer);
    sail__recipe_free(r);
    return code;
}

static const char *const subcommands[] = {"preview", NULL};
static const sail__example examples[] = {
    {"sail data preview pairs.jsonl --model SmolLM2-135M-Instruct", "the first rows, rendered and tokenised"},
    {"sail data preview hh.jsonl.gz --reader hh-rlhf --model SmolLM2-135M-Instruct --max-prompt 128", "with a limit: what is dropped"},
    {"sail data preview recipes/sail-dpp.yaml data.train=pairs.jsonl", "as a recipe has it"},
    {0},
};
const sail__command sail__cmd_data = {
    .name = "data", .args = "preview FILE… | preview RECIPE [key=value …]", .summary = "show rows as the model will see them, and count dropped ones",
    .doc = "Rows that cannot be used are counted by reason, with the first line numbers. Rows of token ids need no model; all others need "
           "its tokenizer and chat template.",
    .min_args = 1, .max_args = -1, .flags = SAIL__CLI_JSON | SAIL__CLI_SUB | SAIL__CLI_MODEL, .options = options,
    .options_size = sizeof(struct data), .subcommands = subcommands, .examples = examples, .run = run,
};
