/* cmd_template.c - sail template: a conversation as a model sees it: text, ids, and what of it is trained. */
#include <string.h>

#include "cli.h"
#include "io/template.h"

struct template_options {
    const char *messages, *template_name, *system;
    int prompt;
    bool ids;
};
static const char *const prompts[] = {"auto", "yes", "no", NULL};
enum { AUTO, YES, NO };
#define T struct template_options
static const sail_opt options[] = {
    SAIL_OPT_STR(T, messages, .flags = SAIL_OPT_PATH, .unit = "FILE",
                 .help = "a JSON list of messages, or {messages, tools, enable_thinking, …}; unset: a sample"),
    {.name = "template",
     .type = SAIL_OPT_TYPE_STR,
     .offset = offsetof(T, template_name),
     .unit = "NAME",
     .help = "a template by name, or a file that ends in .jinja; unset: the model's own"},
    SAIL_OPT_STR(T, system, .help = "system message of conversations without one"),
    SAIL_OPT_CHOICE(T, prompt, .choices = prompts, .help = "write the generation prompt; auto: unless the assistant speaks last"),
    SAIL_OPT_BOOL(T, ids, .help = "a line for each token"),
    {0},
};
#undef T

typedef struct shown {
    sail__tokenizer *tokenizer;
    sail__template *chat;
    const sail_node *messages, *more;
    sail__jinja_result text;
    sail__spans trained;
    sail__ids ids;
    size_t *starts; /* where each token's bytes begin in the text; n + 1 */
} shown;

static const char sample[] = "[{\"role\": \"user\", \"content\": \"What is the capital of France?\"}, {\"role\": \"assistant\", "
                             "\"content\": \"Paris.\"}, {\"role\": \"user\", \"content\": \"And of Italy?\"}, {\"role\": "
                             "\"assistant\", \"content\": \"Rome.\"}]";

static sail_code read_messages(sail__cli *c, shown *s, sail_err *err)
{
    const struct template_options *o = c->options;
    sail_node *root;
    const char *where = o->messages ? o->messages : "the sample";
    if (o->messages)
        SAIL_TRY(sail__json_read(c->arena, o->messages, 64 << 20, &root, err));
    else
        SAIL_TRY(sail__json_parse(c->arena, sample, sizeof sample - 1, where, 1, &root, err));
    s->messages = root;
    if (root->kind == SAIL_NODE_MAP) {
        s->messages = sail__node_get(root, "messages");
        s->more = root;
        sail__node_unset(root, "messages");
    }
    if (!s->messages || s->messages->kind != SAIL_NODE_LIST)
        return sail_fail(err, SAIL_E_PARSE,
                         "%s: must be a list of messages [{\"role\": …, \"content\": …}, …] or a map with `messages`", where);
    for (size_t i = 0; i < s->messages->list.n; i++) {
        const sail_node *role = sail__node_get(s->messages->list.items[i], "role");
        if (!role || role->kind != SAIL_NODE_STRING)
            return sail_fail(err, SAIL_E_PARSE, "%s: message %zu has no role", where, i + 1);
    }
    return SAIL_OK;
}

static bool assistant_last(const sail_node *messages)
{
    const sail_node *role = messages->list.n ? sail__node_get(messages->list.items[messages->list.n - 1], "role") : NULL;
    return role && strcmp(role->string.data, "assistant") == 0;
}

/* What training learns of this conversation: the last answer with its end token. */
static sail_code find_trained(shown *s, sail_err *err)
{
    if (!assistant_last(s->messages))
        return SAIL_OK;
    sail_node without = *s->messages;
    sail__jinja_result prompt;
    size_t n, begin, end;
    without.list.n--;
    SAIL_TRY(sail__template_render_nodes(s->chat, &without, s->more, true, &prompt, err));
    sail__template_answer(s->chat, &s->text, &prompt.text, &begin, &end);
    sail__jinja_result_free(&prompt);
    const char *token = sail__tokenizer_token(s->tokenizer, sail__template_end_id(s->chat, s->tokenizer), &n);
    if (token && s->text.text.len - end >= n && memcmp(s->text.text.data + end, token, n) == 0)
        end += n;
    return end > begin ? sail__spans_add(&s->trained, begin, end, err) : SAIL_OK;
}

static bool inside(const sail__spans *s, size_t begin, size_t end)
{
    for (size_t i = 0; i < s->n; i++)
        if (begin >= s->items[i].begin && begin < s->items[i].end && end > begin)
            return true;
    return false;
}

/* Ids, and where their bytes stand: tokens' bytes follow each other in the text, but for what a tokenizer adds before it. */
static sail_code tokenize(sail__cli *c, shown *s, sail_err *err)
{
    const char *text = s->text.text.data ? s->text.text.data : "";
    unsigned flags = SAIL__PARSE_SPECIAL | (sail__template_add_special(s->chat) ? SAIL__ADD_SPECIAL : 0);
    SAIL_TRY(sail__encode_spans(s->tokenizer, NULL, text, s->text.text.len, flags, s->text.foreign.items, s->text.foreign.n,
                                &s->ids, err));
    s->starts = sail__arena_array(c->arena, s->ids.n + 1, sizeof *s->starts);
    if (!s->starts)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    size_t at = 0;
    for (size_t i = 0; i < s->ids.n; i++) {
        size_t n;
        const char *b = sail__tokenizer_bytes(s->tokenizer, s->ids.items[i], &n);
        const char *hit = b && n ? memmem(text + at, s->text.text.len - at, b, n) : NULL;
        bool near = hit && (size_t)(hit - text) - at <= 16;
        s->starts[i] = near ? (size_t)(hit - text) : at;
        at = near ? (size_t)(hit - text) + n : at;
    }
    s->starts[s->ids.n] = s->text.text.len;
    return SAIL_OK;
}

static void show_text(sail__cli *c, const shown *s)
{
    sail_buf b = {0};
    size_t at = 0;
    for (size_t i = 0; i < s->trained.n; i++) { /* without colours, brackets of their own */
        const sail__span *t = &s->trained.items[i];
        sail__buf_add(&b, s->text.text.data + at, t->begin - at);
        sail__buf_str(&b, c->color ? sail__tone_code(c, SAIL__GREEN) : "⟦");
        sail__buf_add(&b, s->text.text.data + t->begin, t->end - t->begin);
        sail__buf_str(&b, c->color ? sail__tone_code(c, SAIL__PLAIN) : "⟧");
        at = t->end;
    }
    sail__buf_add(&b, s->text.text.data ? s->text.text.data + at : "", s->text.text.len - at);
    sail__cli_line(c, "%s", b.data ? b.data : "");
    sail__buf_free(&b);
}

static void show_tokens(sail__cli *c, const shown *s)
{
    for (size_t i = 0; i < s->ids.n; i++) {
        size_t n = 0;
        sail_buf b = {0};
        const char *bytes = sail__tokenizer_bytes(s->tokenizer, s->ids.items[i], &n);
        sail__json_quote(&b, bytes ? bytes : "", n);
        sail__cli_line(c, "%8d  %-24s%s%s", (int)s->ids.items[i], b.data ? b.data : "",
                       inside(&s->trained, s->starts[i], s->starts[i + 1]) ? " trained" : "",
                       sail__tokenizer_is_special(s->tokenizer, s->ids.items[i]) ? " special" : "");
        sail__buf_free(&b);
    }
}

static sail_node *spans_node(sail__cli *c, const sail__spans *s)
{
    sail_node *list = sail__cli_list(c);
    for (size_t i = 0; list && i < s->n; i++) {
        sail_node *pair = sail__cli_list(c);
        for (int k = 0; pair && k < 2; k++) {
            sail_node *v = sail__node_new(c->arena, SAIL_NODE_INT, "sail", 0, 0);
            if (v) {
                v->integer = (int64_t)(k ? s->items[i].end : s->items[i].begin);
                sail__node_append(c->arena, pair, v);
            }
        }
        if (pair)
            sail__node_append(c->arena, list, pair);
    }
    return list;
}

static sail_code show_json(sail__cli *c, const shown *s, sail_err *err)
{
    sail_node *out = sail__cli_map(c), *ids = sail__cli_list(c), *trained = sail__cli_list(c),
              *text = sail__node_new(c->arena, SAIL_NODE_STRING, "sail", 0, 0);
    if (!text)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    text->string.data = s->text.text.data ? s->text.text.data : "";
    text->string.len = s->text.text.len;
    for (size_t i = 0; ids && trained && i < s->ids.n; i++) {
        sail_node *id = sail__node_new(c->arena, SAIL_NODE_INT, "sail", 0, 0),
                  *t = sail__node_new(c->arena, SAIL_NODE_BOOL, "sail", 0, 0);
        if (!id || !t)
            break;
        id->integer = s->ids.items[i];
        t->boolean = inside(&s->trained, s->starts[i], s->starts[i + 1]);
        sail__node_append(c->arena, ids, id);
        sail__node_append(c->arena, trained, t);
    }
    sail__cli_put_string(c, out, "template", sail__template_name(s->chat));
    sail__cli_put(c, out, "text", text);
    sail__cli_put(c, out, "ids", ids);
    sail__cli_put(c, out, "trained", trained);
    sail__cli_put(c, out, "trained_bytes", spans_node(c, &s->trained));
    sail__cli_put(c, out, "generation_bytes", spans_node(c, &s->text.generation));
    sail__cli_put(c, out, "written_by_others_bytes", spans_node(c, &s->text.foreign));
    return sail__cli_print_json(c, out, err);
}

static sail_code work(sail__cli *c, shown *s, sail_err *err)
{
    const struct template_options *o = c->options;
    SAIL_TRY(read_messages(c, s, err));
    const char *model;
    SAIL_TRY(sail__cli_path(c, c->args[0], &model, err));
    SAIL_TRY(sail__cli_tokenizer(model, &s->tokenizer, err));
    SAIL_TRY(sail__template_for(s->tokenizer, o->template_name, o->system, &s->chat, err));
    bool ask = o->prompt == YES || (o->prompt == AUTO && !assistant_last(s->messages));
    SAIL_TRY(sail__template_render_nodes(s->chat, s->messages, s->more, ask, &s->text, err));
    SAIL_TRY(find_trained(s, err));
    SAIL_TRY(tokenize(c, s, err));
    if (c->json)
        return show_json(c, s, err);
    show_text(c, s);
    if (o->ids)
        show_tokens(c, s);
    size_t trained = 0;
    for (size_t i = 0; i < s->ids.n; i++)
        trained += inside(&s->trained, s->starts[i], s->starts[i + 1]);
    sail__cli_line(c, "%s%s: %zu tokens, %zu of them trained%s", sail__tone_code(c, SAIL__DIM), sail__template_name(s->chat),
                   s->ids.n, trained, sail__tone_code(c, SAIL__PLAIN));
    return SAIL_OK;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    shown s = {0};
    sail_code code = work(c, &s, err);
    sail__jinja_result_free(&s.text);
    sail__free(s.trained.items);
    sail__ids_free(&s.ids);
    sail__template_free(s.chat);
    sail__tokenizer_free(s.tokenizer);
    return code;
}

static const sail__example examples[] = {
    {"sail template SmolLM2-135M-Instruct.gguf", "a sample conversation through the model's template"},
    {"sail template Qwen2.5-0.5B-Instruct --messages talk.json --ids", "one of yours, token by token"},
    {"sail template model.gguf --template my.jinja --prompt yes", "another template, up to where the model speaks"},
    {0},
};
const sail__command sail__cmd_template = {
    .name = "template",
    .args = "MODEL",
    .summary = "a conversation as a model sees it: text, ids, and what is trained",
    .doc = "Renders messages through the model's chat template. What training learns stands in green (⟦…⟧ without colours): the "
           "last answer with its end token. --json tells what the template's {% generation %} blocks hold, too, which training does "
           "not read. Strings of special tokens inside messages are ordinary text. A template that shows the date takes it from "
           "SOURCE_DATE_EPOCH where that is set.",
    .min_args = 1,
    .max_args = 1,
    .flags = SAIL__CLI_JSON,
    .options = options,
    .options_size = sizeof(struct template_options),
    .examples = examples,
    .run = run,
};
