/* reward_model.c - see reward_model.h. */
#include "reward_model.h"

#include <math.h>
#include <string.h>

#include "align/reward_eval.h"
#include "cli_model.h"
#include "io/hf_config.h"

/* ---- opening ---- */

bool sail__cli_is_reward_model(sail__cli *c)
{
    sail_err ignored;
    sail_node *node;
    sail__model_config config;
    const char *adapter = c->model.adapter ? sail__path_join(c->arena, c->model.adapter, "adapter_config.json") : NULL;
    if (adapter && sail__file_exists(adapter) && sail__json_read(c->arena, adapter, 1 << 20, &node, &ignored) == SAIL_OK) {
        const sail_node *task = sail__node_get(node, "task_type");
        if (task && task->kind == SAIL_NODE_STRING && !strcmp(task->string.data, "SEQ_CLS"))
            return true;
    }
    return sail__is_dir(c->model.model) && sail__config_read(c->arena, c->model.model, &config, NULL, &ignored) == SAIL_OK && config.labels > 0;
}

sail_code sail__cli_open_scorer(sail__cli *c, const char *tokenizer, const char *template_name, const char *system, sail__scorer **out, sail_err *err)
{
    sail_slot backend;
    SAIL_TRY(sail__cli_backend(c, &backend, err));
    sail__scorer_spec spec = {.path = c->model.model, .adapter = c->model.adapter, .tokenizer = tokenizer, .template_name = template_name, .system = system,
                              .backend = &backend, .device = c->model.device, .dtype = c->model.dtype};
    return sail__scorer_open(c->ctx, &spec, out, err);
}

/* ---- sail score ---- */

/* What waits for its scores: the row's text up to its last brace, or nothing, and how many responses it has. */
typedef struct waiting {
    char *text;
    int k;
    bool pair, list;
} waiting;
enum { MOST = 1024 };

typedef struct scoring {
    sail__cli *c;
    sail__scorer *scorer;
    const sail__cli_scoring *o;
    const sail_dataset *pairs; /* the reader `preference` */
    const void *pair_options;
    waiting rows[MOST];
    size_t n;
    float *scores;
    size_t cap;
    sail_buf text;
    sail__cli_sink sink;
} scoring;

static void numbers(scoring *s, const float *x)
{
    if (s->scorer->labels == 1)
        sail__json_float(&s->text, *x);
    else
        sail__json_floats(&s->text, x, s->scorer->labels, false);
}

static sail_code flush(scoring *s, sail_err *err)
{
    int64_t labels = s->scorer->labels;
    if (s->n == 0)
        return SAIL_OK;
    SAIL_TRY(sail__grow(&s->scores, &s->cap, (size_t)(sail__scorer_responses(s->scorer) * labels), sizeof *s->scores, err));
    SAIL_TRY(sail__scorer_run(s->scorer, s->scores, err));
    const float *at = s->scores;
    s->text.len = 0;
    for (size_t i = 0; i < s->n; i++) {
        waiting *w = &s->rows[i];
        if (w->pair) {
            sail__buf_printf(&s->text, "%s%s\"score_chosen\": ", w->text, strlen(w->text) > 1 ? ", " : "");
            numbers(s, at);
            sail__buf_str(&s->text, ", \"score_rejected\": ");
            numbers(s, at + labels);
        } else if (!w->list) {
            sail__buf_str(&s->text, "{\"score\": ");
            numbers(s, at);
        } else {
            sail__buf_str(&s->text, "{\"scores\": [");
            for (int j = 0; j < w->k; j++) {
                sail__buf_str(&s->text, j ? ", " : "");
                numbers(s, at + j * labels);
            }
            sail__buf_str(&s->text, "]");
        }
        sail__buf_str(&s->text, "}\n");
        at += w->k * labels;
        sail__free(w->text);
        w->text = NULL;
    }
    s->n = 0;
    return sail__cli_sink_write(&s->sink, &s->text, err);
}

/* {"messages": …}: the last one is the response. */
static sail_code conversation(const sail_json *v, sail_row *row, sail_err *err)
{
    sail__part *p = &row->part[SAIL_PART_PROMPT];
    SAIL_TRY(sail_row_value(row, SAIL_PART_PROMPT, v, "messages", err));
    if (!p->messages || p->n_messages < 2 || strcmp(p->messages[p->n_messages - 1].role, "assistant") != 0)
        return sail_fail(err, SAIL_E_PARSE, "messages must end with one of the assistant, which is scored");
    const sail__message *last = &p->messages[--p->n_messages];
    return sail_row_text(row, SAIL_PART_CHOSEN, last->content, last->content_len, err);
}

static sail_code several(scoring *s, const sail_json *list, sail_row *row, waiting *w, sail_err *err)
{
    sail__part responses[SAIL_MAX_RESPONSES];
    size_t n = sail_json_size(list);
    if (sail_json_kind_of(list) != SAIL_JSON_LIST || n < 1 || n > SAIL_MAX_RESPONSES)
        return sail_fail(err, SAIL_E_PARSE, "`responses` must be a list of 1 to %d strings", SAIL_MAX_RESPONSES);
    for (size_t i = 0; i < n; i++) {
        SAIL_TRY(sail_row_value(row, SAIL_PART_CHOSEN, sail_json_at(list, i), "responses", err));
        responses[i] = row->part[SAIL_PART_CHOSEN];
    }
    *w = (waiting){.k = (int)n, .list = true};
    return sail__scorer_add(s->scorer, &row->part[SAIL_PART_PROMPT], responses, (int)n, err);
}

static sail_code take(scoring *s, const sail_json *v, sail_row *row, waiting *w, sail_err *err)
{
    static const char *const replaced[] = {"score_chosen", "score_rejected", NULL};
    const sail_json *ids = sail_json_get(v, "ids"), *messages = sail_json_get(v, "messages"), *response = sail_json_get(v, "response");
    if (sail_json_kind_of(v) != SAIL_JSON_MAP)
        return sail_fail(err, SAIL_E_PARSE, "a row is a map such as {\"prompt\": …, \"response\": …}");
    if (sail_json_get(v, "chosen") && sail_json_get(v, "rejected")) {
        SAIL_TRY(s->pairs->row(s->pair_options, v, row, err));
        if (row->dropped)
            return sail_fail(err, SAIL_E_PARSE, "%s", row->dropped);
        *w = (waiting){.k = 2, .pair = true};
        SAIL_TRY(sail__json_open_record(v, replaced, &w->text, err));
        return sail__scorer_add(s->scorer, &row->part[SAIL_PART_PROMPT], &row->part[SAIL_PART_CHOSEN], 2, err);
    }
    if (ids) {
        SAIL_TRY(sail_row_id_list(row, SAIL_PART_PROMPT, ids, "ids", err));
        sail__part *p = &row->part[SAIL_PART_PROMPT];
        if (p->n_ids == 0)
            return sail_fail(err, SAIL_E_PARSE, "no tokens; at least one is needed");
        row->part[SAIL_PART_CHOSEN] = (sail__part){.ids = p->ids + p->n_ids - 1, .n_ids = 1}; /* it is read at the last */
        p->n_ids--;
        if (p->n_ids == 0)
            *p = (sail__part){0};
    } else if (messages) {
        SAIL_TRY(conversation(messages, row, err));
    } else {
        SAIL_TRY(sail_row_value(row, SAIL_PART_PROMPT, sail_json_get(v, "prompt"), "prompt", err));
        if (sail_json_get(v, "responses"))
            return several(s, sail_json_get(v, "responses"), row, w, err);
        SAIL_TRY(sail_row_value(row, SAIL_PART_CHOSEN, response, "response", err));
    }
    *w = (waiting){.k = 1};
    return sail__scorer_add(s->scorer, &row->part[SAIL_PART_PROMPT], &row->part[SAIL_PART_CHOSEN], 1, err);
}

static sail_code read_rows(scoring *s, sail__json_stream *in, sail_arena *a, sail_err *err)
{
    for (int64_t n = 0;; n++) {
        const sail_json *v;
        int64_t line = 0;
        SAIL_TRY(sail__json_stream_next(in, &v, &line, err));
        if (!v)
            return flush(s, err);
        if (sail_cancelled(s->c->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped after %lld rows; nothing was written", (long long)n);
        sail__arena_reset(a);
        sail_row row = {.arena = a, .score = {NAN, NAN}, .line = line, .file = s->o->input};
        s->rows[s->n] = (waiting){0};
        sail_code code = take(s, v, &row, &s->rows[s->n], err);
        s->n++;
        if (code != SAIL_OK)
            return sail_fail_in(err, "%s:%lld", s->o->input, (long long)line);
        if (sail__scorer_tokens(s->scorer) >= s->o->max_tokens || s->n == MOST)
            SAIL_TRY(flush(s, err));
    }
}

static sail_code score_file(scoring *s, sail_err *err)
{
    sail__json_stream *in;
    SAIL_TRY(sail__json_stream_open(s->o->input, &in, err));
    sail_arena *a = sail__arena_new();
    sail_code code = a ? sail__cli_sink_open(s->c, s->o->output, &s->sink, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        code = read_rows(s, in, a, err);
        if (code == SAIL_OK)
            code = sail__cli_sink_commit(&s->sink, err);
        else
            sail__cli_sink_abort(&s->sink);
    }
    for (size_t i = 0; i < s->n; i++)
        sail__free(s->rows[i].text);
    sail__arena_free(a);
    sail__json_stream_close(in);
    return code;
}

sail_code sail__cli_score_rewards(sail__cli *c, const sail__cli_scoring *o, sail_err *err)
{
    sail_slot reader;
    scoring *s = sail__calloc(1, sizeof *s);
    if (!s)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    s->c = c;
    s->o = o;
    sail_code code = sail__cli_slot(c, SAIL_KIND_DATASET, "preference", "reader", &reader, err);
    if (code == SAIL_OK) {
        s->pairs = reader.loaded->ops;
        s->pair_options = reader.options;
        code = sail__cli_open_scorer(c, o->tokenizer, o->template_name, NULL, &s->scorer, err);
    }
    if (code == SAIL_OK)
        code = score_file(s, err);
    sail__cli_clear(c);
    sail__scorer_close(s->scorer);
    sail__free(s->scores);
    sail__buf_free(&s->text);
    sail__free(s);
    return code;
}

/* ---- sail eval ---- */

static sail_node *as_json(sail__cli *c, const sail__cli_reward_eval *o, const sail__reward_report *r)
{
    sail_node *root = sail__cli_map(c), *metrics = sail__cli_map(c), *bins = sail__cli_list(c), *subsets = sail__cli_map(c), *sections = sail__cli_map(c);
    sail__cli_put_string(c, root, "model", c->model.model);
    sail__cli_put_string(c, root, "adapter", c->model.adapter);
    sail__cli_put_string(c, root, "data", o->data);
    sail__cli_put_string(c, root, "preference", o->preference);
    sail__cli_put_int(c, root, "rows", (int64_t)r->pairs);
    sail__cli_put_int(c, root, "records", r->records);
    sail__cli_put_number(c, metrics, "eval_rewards/accuracies", r->right / r->pairs);
    sail__cli_put_number(c, metrics, "eval_rewards/chosen", r->chosen / r->pairs);
    sail__cli_put_number(c, metrics, "eval_rewards/rejected", r->rejected / r->pairs);
    sail__cli_put_number(c, metrics, "eval_rewards/margins", r->margin / r->pairs);
    sail__cli_put_number(c, metrics, "eval_loss", r->calibration.log_loss / r->calibration.n);
    sail__cli_put_number(c, metrics, "eval_calibration/error", sail__calibration_error(&r->calibration));
    sail__cli_put(c, root, "metrics", metrics);
    for (int i = 0; bins && i < SAIL__RELIABILITY_BINS; i++) {
        sail_node *bin = sail__cli_map(c);
        double n = r->calibration.bin[i].n;
        sail__cli_put_number(c, bin, "from", 0.5 + 0.5 * i / SAIL__RELIABILITY_BINS);
        sail__cli_put_number(c, bin, "to", 0.5 + 0.5 * (i + 1) / SAIL__RELIABILITY_BINS);
        sail__cli_put_int(c, bin, "pairs", (int64_t)n);
        if (n > 0) {
            sail__cli_put_number(c, bin, "confidence", r->calibration.bin[i].sure / n);
            sail__cli_put_number(c, bin, "accuracy", r->calibration.bin[i].right / n);
        }
        if (bin)
            sail__node_append(c->arena, bins, bin);
    }
    sail__cli_put(c, root, "calibration", bins);
    for (size_t i = 0; i < r->n_subsets; i++) {
        sail_node *one = sail__cli_map(c);
        sail__cli_put_int(c, one, "pairs", (int64_t)r->subsets[i].pairs);
        sail__cli_put_number(c, one, "accuracy", r->subsets[i].right / r->subsets[i].pairs);
        sail__cli_put(c, subsets, r->subsets[i].name, one);
    }
    sail__cli_put(c, root, "subsets", subsets);
    for (int i = 0; i < SAIL__SECTIONS; i++)
        if (r->sections[i].pairs > 0)
            sail__cli_put_number(c, sections, r->sections[i].name, r->sections[i].accuracy);
    if (!isnan(r->average))
        sail__cli_put_number(c, sections, "average", r->average);
    sail__cli_put(c, root, "sections", sections);
    return root;
}

static void table(sail__cli *c, const sail__cli_reward_eval *o, const sail__reward_report *r)
{
    sail__cli_line(c, "%.0f pairs of %s (%lld records)", r->pairs, o->data, (long long)r->records);
    sail__cli_line(c, "%-34s %10.3f", "preference accuracy", r->right / r->pairs);
    sail__cli_line(c, "%-34s %10.4f", "margin of the scores", r->margin / r->pairs);
    sail__cli_line(c, "%-34s %10.4f", "loss", r->calibration.log_loss / r->calibration.n);
    sail__cli_line(c, "%-34s %10.4f", "expected calibration error", sail__calibration_error(&r->calibration));
    sail__cli_line(c, "how sure        pairs  confidence  right");
    for (int i = 0; i < SAIL__RELIABILITY_BINS; i++) {
        double n = r->calibration.bin[i].n;
        if (n > 0)
            sail__cli_line(c, "%.2f to %.2f %8.0f %11.3f %6.3f", 0.5 + 0.5 * i / SAIL__RELIABILITY_BINS, 0.5 + 0.5 * (i + 1) / SAIL__RELIABILITY_BINS, n,
                           r->calibration.bin[i].sure / n, r->calibration.bin[i].right / n);
    }
    for (size_t i = 0; i < r->n_subsets; i++)
        sail__cli_line(c, "%-34s %10.3f  of %.0f", r->subsets[i].name, r->subsets[i].right / r->subsets[i].pairs, r->subsets[i].pairs);
    for (int i = 0; i < SAIL__SECTIONS; i++)
        if (r->sections[i].pairs > 0)
            sail__cli_line(c, "%s%-34s%s %10.3f", sail__tone_code(c, SAIL__BOLD), r->sections[i].name, sail__tone_code(c, SAIL__PLAIN), r->sections[i].accuracy);
    if (!isnan(r->average))
        sail__cli_line(c, "%s%-34s%s %10.3f", sail__tone_code(c, SAIL__BOLD), "average of the sections", sail__tone_code(c, SAIL__PLAIN), r->average);
}

static sail_code tell(sail__cli *c, const sail__cli_reward_eval *o, const sail__reward_report *r, sail_err *err)
{
    sail__cli_clear(c);
    sail_node *root = as_json(c, o, r);
    if (o->output)
        SAIL_TRY(sail__cli_write_json(c, o->output, root, err));
    if (c->json)
        return sail__cli_print_json(c, root, err);
    table(c, o, r);
    return SAIL_OK;
}

sail_code sail__cli_eval_rewards(sail__cli *c, const sail__cli_reward_eval *o, sail_err *err)
{
    sail_slot reader, preference;
    sail__scorer *scorer = NULL;
    SAIL_TRY(sail__cli_slot(c, SAIL_KIND_DATASET, o->reader, "--reader", &reader, err));
    SAIL_TRY(sail__cli_slot(c, SAIL_KIND_PREFERENCE, o->preference, "--preference", &preference, err));
    SAIL_TRY(sail__cli_open_scorer(c, NULL, o->template_name, o->system, &scorer, err));
    const sail_preference_model m = {preference.loaded->ops, preference.options, preference.loaded->plugin.name};
    sail__data_options rows = {.paths = &o->data, .n_paths = 1, .reader = &reader, .held_out = o->held_out,
                               .split = o->held_out > 0 ? SAIL__SPLIT_HELD_OUT : SAIL__SPLIT_ALL, .pairing = o->pairing};
    sail__reward_data data = {.rows = &rows, .pairs = o->pairs, .max_tokens = 8192};
    sail__reward_report report = {.arena = c->arena};
    sail_code code = sail__reward_assess(c->ctx, scorer, &data, &m, &report, err);
    if (code == SAIL_OK)
        code = tell(c, o, &report, err);
    sail__reward_report_free(&report);
    sail__scorer_close(scorer);
    return code;
}
