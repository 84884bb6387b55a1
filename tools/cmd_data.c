/* cmd_data.c - sail data preview | check: rows as the model will see them, why others are left out, and how long they are. Files
 * are streamed: memory does not grow with them. */
#include <string.h>

#include "align/config.h"
#include "cli_model.h"
#include "io/data.h"
#include "recipe/recipe.h"

struct data {
    const char *reader, *template_name, *system, *stage, *fields;
    int64_t rows, max_prompt, max_response;
    int truncate, split, pairing;
    double held_out;
    bool ids;
};
static const char *const truncates[] = {"drop", "start", "end", NULL}, *const splits[] = {"all", "train", "held_out", NULL};
#define T struct data
static const sail_opt options[] = {
    SAIL_OPT_STR(T, reader, .def_str = "preference", .help = "NAME or {kind: NAME, …}; `sail plugins` lists the dataset plugins"),
    SAIL_OPT_CHOICE(T, pairing, .choices = sail__data_pairings, .help = SAIL__DATA_PAIRING_HELP),
    SAIL_OPT_STR(T, fields, .unit = "MAP",
                 .help = "{prompt: instruction, …}: what the reader calls a field, and what the file calls it"),
    SAIL_OPT_INT(T, rows, .def = 3, .min = 0, .max = 1e9, .help = "preview: rows shown; all are counted"),
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
    bool bad_row_is_error;
} plan;

/* Lengths in buckets that double: bucket 0 holds 0, bucket i holds [2^(i-1), 2^i). */
enum { BUCKETS = 33 };
typedef struct lengths {
    const char *name;
    int64_t n, longest, bucket[BUCKETS];
    double sum;
} lengths;
enum { PROMPT, CHOSEN, REJECTED, TOTAL, PARTS };
typedef struct counted {
    int64_t records, used, cut;
    lengths part[PARTS];
    sail__drops drops;
} counted;

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
    SAIL_TRY(sail__cli_slot(c, SAIL_KIND_DATASET, o->reader, "--reader", &p->reader, err));
    sail_node *files = sail__node_new(c->arena, SAIL_NODE_LIST, "command line", 0, 0), *fields = NULL;
    for (size_t i = 1; files && i < c->n_args; i++) {
        const char *path;
        SAIL_TRY(sail__cli_path(c, c->args[i], &path, err));
        if (!sail__node_append(c->arena, files, sail__node_string(c->arena, path, "command line")))
            files = NULL;
    }
    if (!files)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (o->fields)
        SAIL_TRY(sail__yaml_parse(c->arena, o->fields, strlen(o->fields), "--fields", &fields, err));
    p->data =
        (sail__data_options){.held_out = o->held_out, .split = o->split, .on_bad_row = SAIL__BAD_ROW_SKIP, .fields = fields,
                              .pairing = o->pairing};
    SAIL_TRY(sail__data_check_fields(fields, err));
    SAIL_TRY(sail__data_files(c->arena, files, "data", &p->data, err));
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
        return sail_fail(err, SAIL_E_RECIPE, "%s: %s%s%s has no data.train", c->args[1], o->stage ? "stage `" : "no stage",
                         o->stage ? o->stage : "", o->stage ? "`" : "");
    p->reader = s->reader;
    p->data = (sail__data_options){.held_out = s->data.eval ? 0 : s->data.held_out,
                                   .split = SAIL__SPLIT_TRAIN,
                                   .on_bad_row = SAIL__BAD_ROW_SKIP,
                                   .max_rows = s->data.max_rows,
                                   .fields = s->data.fields,
                                   .pairing = s->data.pairing};
    p->bad_row_is_error = s->data.on_bad_row == SAIL__BAD_ROW_ERROR;
    SAIL_TRY(sail__data_check_fields(s->data.fields, err));
    SAIL_TRY(sail__data_files(c->arena, s->data.train, "data.train", &p->data, err));
    if (sail__data_share(s->data.share, &p->data, err) != SAIL_OK)
        return sail_fail_in(err, "data.share");
    p->encode = (sail__encode_options){
        .max_prompt = s->data.max_prompt, .max_response = s->data.max_response, .truncate = s->data.truncate};
    p->model = c->model.model ? c->model.model : s->model.path;
    p->tokenizer_path = s->model.tokenizer;
    p->template_name = s->model.template_name;
    p->system = s->model.system;
    return SAIL_OK;
}

/* ---- showing ---- */

static void show_text(sail__cli *c, const char *label, const char *text, size_t n_tokens, const char *note)
{
    sail__cli_line(c, "  %s%s%s%s (%zu tokens%s)", sail__tone_code(c, SAIL__CYAN), label, sail__tone_code(c, SAIL__PLAIN), "",
                   n_tokens, note);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        sail__cli_line(c, "    %.*s", (int)n, at);
        at += n + (at[n] == '\n');
    }
}

/* What part i of the row is: the prompt, then its responses. */
static const char *name_of(sail__cli *c, const sail_row *row, size_t i)
{
    if (i == 1 && row->label)
        return row->label > 0 ? "desirable" : "undesirable";
    return i == 0 ? "prompt" : i == 1 ? "chosen" : i == 2 ? "rejected" : sail__arena_printf(c->arena, "rejected_%zu", i - 1);
}

static sail_code show(sail__cli *c, const plan *p, const sail_row *row, const sail__encoded *e, sail_node *list, sail_err *err)
{
    const struct data *o = c->options;
    sail_node *map = sail__cli_map(c);
    sail__cli_put_string(c, map, "file", row->file);
    sail__cli_put_int(c, map, "line", row->line);
    if (!c->json)
        sail__cli_line(c, "%s%s:%lld%s", sail__tone_code(c, SAIL__BOLD), row->file, (long long)row->line,
                       sail__tone_code(c, SAIL__PLAIN));
    for (size_t i = 0; i <= sail__encoded_responses(e); i++) {
        const sail__encoded_response f = i ? sail__encoded_at(e, i - 1) : (sail__encoded_response){e->prompt, e->n_prompt, e->cut_prompt};
        const char *name = name_of(c, row, i);
        sail_buf text = {0};
        if (!name)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail_code code =
            p->tokenizer ? sail__decode(p->tokenizer, f.ids, f.n, i ? SAIL__DECODE_CONTINUATION : 0u, &text, err) : SAIL_OK;
        sail_node *ids = sail__cli_list(c), *part = sail__cli_map(c);
        for (size_t k = 0; ids && k < f.n; k++) {
            sail_node *id = sail__node_new(c->arena, SAIL_NODE_INT, "sail", 0, 0);
            if (!id || !sail__node_append(c->arena, ids, id))
                break;
            id->integer = f.ids[k];
        }
        sail__cli_put_string(c, part, "text", text.data ? text.data : "");
        sail__cli_put(c, part, "ids", ids);
        sail__cli_put_bool(c, part, "cut", f.cut);
        sail__cli_put(c, map, name, part);
        if (!c->json && code == SAIL_OK)
            show_text(c, name, text.data ? text.data : "", f.n, f.cut ? ", cut" : "");
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

/* ---- counting ---- */

static void add_length(lengths *l, size_t n)
{
    int at = 0;
    while (at < BUCKETS - 1 && n >> at)
        at++;
    l->bucket[at]++;
    l->n++;
    l->sum += (double)n;
    l->longest = (int64_t)n > l->longest ? (int64_t)n : l->longest;
}

static void count(counted *t, const sail__encoded *e)
{
    t->used++;
    size_t total = e->n_prompt;
    bool cut = e->cut_prompt;
    add_length(&t->part[PROMPT], e->n_prompt);
    for (size_t k = 0; k < sail__encoded_responses(e); k++) { /* of a ranking all behind the best count as rejected */
        const sail__encoded_response r = sail__encoded_at(e, k);
        add_length(&t->part[k ? REJECTED : CHOSEN], r.n);
        total += r.n;
        cut = cut || r.cut;
    }
    t->cut += cut;
    add_length(&t->part[TOTAL], total);
}

/* The length that a share of the rows does not pass: the end of its bucket. */
static int64_t quantile(const lengths *l, double share)
{
    int64_t seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((double)(seen += l->bucket[i]) >= share * (double)l->n)
            return i == 0 ? 0 : ((int64_t)1 << i) - 1 < l->longest ? ((int64_t)1 << i) - 1 : l->longest;
    return l->longest;
}

static void histogram(sail__cli *c, const lengths *l)
{
    enum { WIDE = 40 };
    int64_t most = 1;
    int first = BUCKETS, last = 0;
    for (int i = 0; i < BUCKETS; i++) {
        if (!l->bucket[i])
            continue;
        most = l->bucket[i] > most ? l->bucket[i] : most;
        first = i < first ? i : first;
        last = i;
    }
    if (!l->n)
        return;
    sail__cli_line(c, "%s%s%s: mean %.1f tokens, half up to %lld, nine of ten up to %lld, longest %lld",
                   sail__tone_code(c, SAIL__BOLD), l->name, sail__tone_code(c, SAIL__PLAIN), l->sum / (double)l->n,
                   (long long)quantile(l, 0.5), (long long)quantile(l, 0.9), (long long)l->longest);
    for (int i = first; i <= last; i++) {
        char bar[3 * WIDE + 1] = "";
        int n = (int)((l->bucket[i] * WIDE + most - 1) / most);
        for (int k = 0; k < n; k++)
            strcat(bar, "█");
        sail__cli_line(c, "  %7lld … %-7lld %8lld %s%s%s", i ? 1ll << (i - 1) : 0ll, i ? (1ll << i) - 1 : 0ll,
                       (long long)l->bucket[i], sail__tone_code(c, SAIL__CYAN), bar, sail__tone_code(c, SAIL__PLAIN));
    }
}

static sail_node *lengths_node(sail__cli *c, const lengths *l)
{
    sail_node *map = sail__cli_map(c), *list = sail__cli_list(c);
    sail__cli_put_int(c, map, "rows", l->n);
    sail__cli_put_number(c, map, "mean", l->n ? l->sum / (double)l->n : 0);
    sail__cli_put_int(c, map, "longest", l->longest);
    for (int i = 0; list && i < BUCKETS; i++) {
        sail_node *b = l->bucket[i] ? sail__cli_map(c) : NULL;
        if (!b)
            continue;
        sail__cli_put_int(c, b, "from", i ? (int64_t)1 << (i - 1) : 0);
        sail__cli_put_int(c, b, "rows", l->bucket[i]);
        sail__node_append(c->arena, list, b);
    }
    sail__cli_put(c, map, "histogram", list);
    return map;
}

static void summary(sail__cli *c, const counted *t)
{
    sail_buf b = {0};
    sail__drops_print(&t->drops, t->records, &b);
    sail__cli_line(c, "%lld of %lld rows can be used%s", (long long)t->used, (long long)t->records,
                   t->cut ? "" : ", none of them cut");
    if (t->cut)
        sail__cli_line(c, "%lld of them are cut to the limits", (long long)t->cut);
    while (b.len && b.data[b.len - 1] == '\n')
        b.data[--b.len] = '\0';
    if (b.len)
        sail__cli_line(c, "%s", b.data);
    sail__buf_free(&b);
    for (int i = 0; i < PARTS; i++)
        histogram(c, &t->part[i]);
}

static sail_code summary_json(sail__cli *c, const counted *t, sail_node *shown, sail_err *err)
{
    sail_node *out = sail__cli_map(c), *drops = sail__cli_list(c), *all = sail__cli_map(c);
    sail__cli_put_int(c, out, "records", t->records);
    sail__cli_put_int(c, out, "used", t->used);
    sail__cli_put_int(c, out, "cut", t->cut);
    for (size_t i = 0; drops && i < t->drops.n; i++) {
        const sail__drop *p = &t->drops.items[i];
        sail_node *d = sail__cli_map(c), *lines = sail__cli_list(c);
        sail__cli_put_string(c, d, "reason", p->reason);
        sail__cli_put_int(c, d, "rows", p->n);
        for (int64_t k = 0; lines && k < p->n && k < SAIL__DROP_LINES; k++) {
            sail_node *at = sail__cli_map(c);
            sail__cli_put_string(c, at, "file", p->file[k]);
            sail__cli_put_int(c, at, "line", p->line[k]);
            if (at)
                sail__node_append(c->arena, lines, at);
        }
        sail__cli_put(c, d, "first", lines);
        if (d)
            sail__node_append(c->arena, drops, d);
    }
    sail__cli_put(c, out, "dropped", drops);
    for (int i = 0; i < PARTS; i++)
        if (t->part[i].n)
            sail__cli_put(c, all, t->part[i].name, lengths_node(c, &t->part[i]));
    sail__cli_put(c, out, "lengths", all);
    sail__cli_put(c, out, "rows", shown);
    return sail__cli_print_json(c, out, err);
}

/* One row: encoded, counted, shown where it is one of the first. */
static sail_code one_row(sail__cli *c, const plan *p, const sail_row *row, sail__token_scratch *scratch, sail_arena *a,
                         int64_t show_rows, counted *t, sail_node *list, sail_err *err)
{
    sail__encoded e = {0};
    const char *dropped;
    if (sail__encode_row(&p->encode, scratch, row, a, &e, &dropped, err) != SAIL_OK)
        return sail_fail_in(err, "%s:%lld", row->file, (long long)row->line);
    if (dropped)
        return sail__drops_add(&t->drops, dropped, row->file, row->line, err);
    count(t, &e);
    return t->used <= show_rows ? show(c, p, row, &e, list, err) : SAIL_OK;
}

static sail_code go_through(sail__cli *c, const plan *p, sail__source *s, sail__token_scratch *scratch, int64_t show_rows,
                            counted *t, sail_node *list, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail_code code = a ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (sail_row *row = NULL; code == SAIL_OK;) {
        sail__arena_reset(a);
        code = sail__source_next(s, a, &row, err);
        if (!row || code != SAIL_OK)
            break;
        code = one_row(c, p, row, scratch, a, show_rows, t, list, err);
    }
    sail__arena_free(a);
    t->records = sail__source_records(s);
    return code == SAIL_OK ? sail__drops_merge(&t->drops, sail__source_drops(s), err) : code;
}

static sail_code prepare(plan *p, sail_err *err)
{
    const char *tokenizer = p->tokenizer_path ? p->tokenizer_path : p->model;
    if (tokenizer)
        SAIL_TRY(sail__cli_tokenizer(tokenizer, &p->tokenizer, err));
    if (p->tokenizer)
        SAIL_TRY(sail__template_for(p->tokenizer, p->template_name, p->system, &p->chat, err));
    p->encode.tokenizer = p->tokenizer;
    p->encode.chat = p->chat;
    p->data.reader = &p->reader;
    return SAIL_OK;
}

/* A file that `check` finds fault with: nothing in it can be used, or lines of it are malformed. */
static sail_code verdict(const plan *p, const counted *t, const sail__source *s, bool check, sail_err *err)
{
    const char *fault = sail__source_fault(s);
    if (fault && (check || p->bad_row_is_error))
        return sail_fail(err, SAIL_E_PARSE, "%s", fault);
    if (check && !t->used)
        return sail_fail(err, SAIL_E_ARG, "%s: no row can be used", p->data.paths[0]);
    return SAIL_OK;
}

static sail_code preview(sail__cli *c, plan *p, sail_err *err)
{
    const struct data *o = c->options;
    const bool check = strcmp(c->args[0], "check") == 0;
    SAIL_TRY(prepare(p, err));
    counted t = {.drops = {.arena = c->arena},
                 .part = {{.name = "prompt"}, {.name = "chosen"}, {.name = "rejected"}, {.name = "prompt and responses"}}};
    sail__token_scratch *scratch = p->tokenizer ? sail__token_scratch_new(p->tokenizer) : NULL;
    sail__source *s = NULL;
    sail_node *list = sail__cli_list(c);
    sail_code code =
        list && (scratch || !p->tokenizer) ? sail__source_open(&p->data, &s, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = go_through(c, p, s, scratch, check ? 0 : o->rows, &t, list, err);
    if (code == SAIL_OK && c->json)
        code = summary_json(c, &t, list, err);
    else if (code == SAIL_OK)
        summary(c, &t);
    if (code == SAIL_OK)
        code = verdict(p, &t, s, check, err);
    sail__source_close(s);
    sail__token_scratch_free(scratch);
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    plan p = {0};
    sail__recipe *r = NULL;
    sail_code code;
    if (c->n_args < 2)
        return sail_fail(err, SAIL_E_USAGE, "which data? usage: sail data %s FILE… | RECIPE [key=value …]", c->args[0]);
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

static const char *const subcommands[] = {"preview", "check", NULL};
static const sail__example examples[] = {
    {"sail data preview pairs.jsonl --model SmolLM2-135M-Instruct", "the first rows, rendered and tokenised"},
    {"sail data preview hh.jsonl.gz --reader hh-rlhf --model SmolLM2-135M-Instruct --max-prompt 128",
     "with a limit: what is dropped"},
    {"sail data check 'shards/*.jsonl.zst' --reader ultrafeedback --model SmolLM2-135M-Instruct",
     "all of many files: drops, lengths, faults"},
    {"sail data preview rows.jsonl --fields '{prompt: instruction, chosen: output}' --reader sft --model model.gguf",
     "with the file's own names of fields"},
    {"sail data preview recipes/sail-dpp.yaml data.train=pairs.jsonl", "as a recipe has it"},
    {0},
};
const sail__command sail__cmd_data = {
    .name = "data",
    .args = "preview|check FILE… | RECIPE [key=value …]",
    .summary = "show rows as the model will see them, count dropped ones, check files",
    .doc = "preview shows the first rows; both read everything and tell how many rows can be used, why others are dropped, with "
           "the first line "
           "numbers, and how long they are in tokens. check fails (status 2) where a line is malformed, and (1) where no row can "
           "be used. Files "
           "may be JSONL or JSON lists, plain or packed (.gz, .zst, .xz), and a name may be a pattern. Rows of token ids need no "
           "model; all "
           "others need its tokenizer and chat template.",
    .min_args = 1,
    .max_args = -1,
    .flags = SAIL__CLI_JSON | SAIL__CLI_SUB | SAIL__CLI_MODEL,
    .options = options,
    .options_size = sizeof(struct data),
    .subcommands = subcommands,
    .examples = examples,
    .run = run,
};
