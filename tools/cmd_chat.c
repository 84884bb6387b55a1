/* cmd_chat.c - sail chat: a conversation with a model, on a terminal or line by line. */
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "cli_model.h"
#include "lines.h"

struct chat_options {
    const char *template_name, *system, *messages;
    int64_t max_new;
};
#define T struct chat_options
static const sail_opt options[] = {
    {.name = "template",
     .type = SAIL_OPT_TYPE_STR,
     .offset = offsetof(T, template_name),
     .unit = "NAME",
     .help = "a template by name, or a file that ends in .jinja; unset: the model's own"},
    SAIL_OPT_STR(T, system, .help = "the system message"),
    SAIL_OPT_STR(T, messages, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "go on with this conversation, as /save writes one"),
    SAIL_OPT_INT(T, max_new, .def = 1024, .min = 1, .max = 1 << 24, .help = "tokens of an answer at most"),
    {0},
};
#undef T

typedef struct talk {
    sail__cli *c;
    const struct chat_options *o;
    sail__session *session;
    sail__generator *generator;
    sail__token_scratch *scratch;
    const char *system; /* NULL: none */
    sail__message *messages;
    size_t n, cap;
    size_t first;     /* the messages before it are left out: they do not fit */
    uint64_t answers; /* so far, those taken back too: another try draws otherwise */
    int signals;      /* readable when a signal came; -1: there are none */
    bool interactive; /* a person types and reads */
    bool quit;
    const int32_t *ends;
    int n_ends;
    /* the answer that is being written */
    sail__answer answer;
    sail_buf text; /* of it, all that was shown */
    bool started, interrupted, failed, complete;
    sail_err why; /* it failed */
} talk;

/* ---- the conversation ---- */

static sail_code add_message(talk *t, const char *role, const char *content, size_t len, sail_err *err)
{
    SAIL_TRY(sail__grow(&t->messages, &t->cap, t->n + 1, sizeof *t->messages, err));
    char *copy = sail__arena_strndup(t->c->arena, content, len);
    if (!copy)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    t->messages[t->n++] = (sail__message){role, copy, len};
    return SAIL_OK;
}

static sail_code read_messages(talk *t, const char *path, sail_err *err)
{
    sail_node *root;
    SAIL_TRY(sail__json_read(t->c->arena, path, 64 << 20, &root, err));
    const sail_node *list = root->kind == SAIL_NODE_MAP ? sail__node_get(root, "messages") : root;
    if (!list || list->kind != SAIL_NODE_LIST)
        return sail_fail(err, SAIL_E_PARSE, "%s: must be a list of messages [{\"role\": …, \"content\": …}, …] or a map with `messages`", path);
    for (size_t i = 0; i < list->list.n; i++) {
        const sail_node *role = sail__node_get(list->list.items[i], "role"), *content = sail__node_get(list->list.items[i], "content");
        if (!role || role->kind != SAIL_NODE_STRING || !content || content->kind != SAIL_NODE_STRING)
            return sail_fail(err, SAIL_E_PARSE, "%s: message %zu must have strings `role` and `content`", path, i + 1);
        if (i == 0 && strcmp(role->string.data, "system") == 0)
            t->system = content->string.data;
        else
            SAIL_TRY(add_message(t, role->string.data, content->string.data, content->string.len, err));
    }
    return SAIL_OK;
}

static bool is_role(const talk *t, size_t i, const char *role) { return strcmp(t->messages[i].role, role) == 0; }

/* Take back the last question and what came after it; false: there is none. */
static bool take_back(talk *t)
{
    size_t n = t->n;
    while (n > 0 && !is_role(t, n - 1, "user"))
        n--;
    if (n == 0)
        return false;
    t->n = n - 1;
    t->first = t->first < t->n ? t->first : t->n;
    return true;
}

/* {"messages": […]}: a line that `sail generate --input` and `sail template --messages` read, too. */
static sail_code save(talk *t, const char *path, sail_err *err)
{
    sail_buf b = {0};
    sail__buf_str(&b, "{\"messages\": [");
    for (size_t i = 0; i < t->n + (t->system != NULL); i++) {
        const sail__message *m = t->system ? &t->messages[i - 1] : &t->messages[i];
        const sail__message first = {"system", t->system, t->system ? strlen(t->system) : 0};
        if (t->system && i == 0)
            m = &first;
        sail__buf_printf(&b, "%s{\"role\": ", i ? ", " : "");
        sail__json_quote(&b, m->role, strlen(m->role));
        sail__buf_str(&b, ", \"content\": ");
        sail__json_quote(&b, m->content, m->content_len);
        sail__buf_str(&b, "}");
    }
    sail__buf_str(&b, "]}\n");
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__file_write(path, b.data, b.len, err);
    sail__buf_free(&b);
    return code;
}

static sail_code encode(talk *t, sail_arena *a, sail__ids *ids, sail_err *err)
{
    sail__message *m = sail__arena_array(a, t->n - t->first + 1, sizeof *m);
    size_t n = 0;
    if (!m)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (t->system)
        m[n++] = (sail__message){"system", t->system, strlen(t->system)};
    memcpy(m + n, t->messages + t->first, (t->n - t->first) * sizeof *m);
    n += t->n - t->first;
    ids->n = 0;
    const sail__part part = {.messages = m, .n_messages = n};
    const sail__encode_options o = {.tokenizer = t->session->tokenizer, .chat = t->session->chat};
    return sail__encode_prompt(&o, t->scratch, &part, ids, err);
}

/* The conversation as ids with room for an answer. When it has grown too long the oldest turns are left out until half of the positions
 * are free, so that the cache, which is then useless, is so only now and then. */
static sail_code fit(talk *t, sail_arena *a, sail__ids *ids, sail_err *err)
{
    const int64_t most = sail__model_positions(t->session->model), quarter = most / 4 > 1 ? most / 4 : 1;
    const int64_t room = t->o->max_new < quarter ? t->o->max_new : quarter;
    const size_t before = t->first;
    SAIL_TRY(encode(t, a, ids, err));
    for (int64_t limit = most - room; (int64_t)ids->n > limit; limit = most / 2) {
        size_t next = t->first + 1;
        while (next < t->n && !is_role(t, next, "user"))
            next++;
        if (next >= t->n) {
            if ((int64_t)ids->n <= most - room)
                break;
            return sail_fail(err, SAIL_E_PARSE, "%zu tokens with the system message; the model has positions for %lld, %lld of them for the answer: "
                             "shorten the message", ids->n, (long long)most, (long long)room);
        }
        t->first = next;
        SAIL_TRY(encode(t, a, ids, err));
    }
    if (t->first > before)
        sail_log(t->c->ctx, SAIL_LOG_WARN, "the conversation has outgrown the model's %lld positions: its oldest %zu messages are left out from now on "
                 "(/save has them)", (long long)most, t->first);
    return SAIL_OK;
}

/* ---- answers ---- */

static void show(talk *t, const sail_buf *piece)
{
    size_t skip = !t->started && piece->len && piece->data[0] == ' '; /* which belongs to the prompt's last mark */
    t->started = t->started || piece->len;
    if (piece->len <= skip)
        return;
    sail__buf_add(&t->text, piece->data + skip, piece->len - skip);
    if (!t->c->json && sail__cli_output(t->c, NULL, piece->data + skip, piece->len - skip, &t->why) != SAIL_OK)
        t->failed = true;
}

static bool interrupted(talk *t)
{
    uint64_t n;
    return t->signals >= 0 && read(t->signals, &n, sizeof n) == (ssize_t)sizeof n;
}

static bool on_token(void *user, const sail__gen_response *r)
{
    talk *t = user;
    sail_buf piece = {0};
    t->complete = sail__answer_push(&t->answer, r->ids[r->n - 1], &piece);
    show(t, &piece);
    sail__buf_free(&piece);
    t->interrupted = interrupted(t);
    return t->complete || t->interrupted || t->failed;
}

static sail_code tell(talk *t, const sail__gen_response *r, size_t prompt, const sail__gen_counters *k, sail_err *err)
{
    const char *finish = t->interrupted ? "interrupted" : r->finish == SAIL__FINISH_STOP ? "stop" : "length";
    if (!t->c->json) {
        if (r->finish == SAIL__FINISH_LENGTH && !t->interrupted)
            sail_log(t->c->ctx, SAIL_LOG_INFO, "cut off after %lld tokens (--max-new, or the model's positions)", (long long)r->n);
        sail_log(t->c->ctx, SAIL_LOG_DEBUG, "%zu tokens before the answer, %lld of them computed; %lld new ones, %.1f a second", prompt,
                 (long long)k->prompt_tokens, (long long)r->n, k->seconds > 0 ? (double)k->new_tokens / k->seconds : 0);
        return sail__cli_output(t->c, NULL, "\n", 1, err);
    }
    sail_buf b = {0};
    sail__buf_str(&b, "{\"content\": ");
    sail__json_quote(&b, t->text.data ? t->text.data : "", t->text.len);
    sail__buf_printf(&b, ", \"finish\": \"%s\", \"prompt_tokens\": %zu, \"computed_tokens\": %lld, \"new_tokens\": %lld, \"left_out\": %zu}\n",
                     finish, prompt, (long long)k->prompt_tokens, (long long)r->n, t->first);
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(t->c, NULL, b.data, b.len, err);
    sail__buf_free(&b);
    return code;
}

static sail_code write_answer(talk *t, sail_arena *a, const sail__ids *ids, sail_err *err)
{
    sail__gen_counters before, k;
    sail__gen_response *out;
    sail_buf rest = {0};
    size_t n;
    const int64_t room = sail__model_positions(t->session->model) - (int64_t)ids->n;
    const sail__gen_request q = {.prompt = ids->items, .n_prompt = (int64_t)ids->n, .children = 1,
                                 .max_new = t->o->max_new < room ? t->o->max_new : room, .key = t->answers++, .sampling = sail__cli_filter(t->c)};
    sail__generator_counters(t->generator, &before);
    SAIL_TRY(sail__answer_begin(&t->answer, t->session->tokenizer, t->c->sampling.stop, err));
    sail_code code = sail__generate(t->generator, (uint64_t)t->c->sampling.seed, &q, 1, t->ends, t->n_ends, on_token, t, a, &out, &n, err);
    sail__answer_end(&t->answer, &rest);
    if (code == SAIL_OK)
        show(t, &rest);
    sail__buf_free(&rest);
    SAIL_TRY(code);
    if (t->failed)
        return *err = t->why, SAIL_E_IO;
    sail__generator_counters(t->generator, &k);
    k.prompt_tokens -= before.prompt_tokens;
    k.new_tokens -= before.new_tokens;
    k.seconds -= before.seconds;
    SAIL_TRY(tell(t, out, ids->n, &k, err));
    return add_message(t, "assistant", t->text.data ? t->text.data : "", t->text.len, err);
}

/* A question that gets no answer is taken back, and what was left out for it. */
static sail_code ask(talk *t, const char *text, size_t len, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__ids ids = {0};
    const size_t first = t->first;
    SAIL_TRY(add_message(t, "user", text, len, err));
    t->text.len = 0;
    t->started = t->interrupted = false;
    interrupted(t); /* one that came before counts no more */
    sail_code code = a ? fit(t, a, &ids, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = write_answer(t, a, &ids, err);
    if (code != SAIL_OK) {
        take_back(t);
        t->first = first;
    }
    sail__ids_free(&ids);
    sail__arena_free(a);
    return code;
}

/* ---- commands ---- */

static sail_code do_help(talk *t, const char *rest, sail_err *err);

static sail_code do_reset(talk *t, const char *rest, sail_err *err)
{
    t->n = t->first = 0;
    return SAIL_OK;
}

static sail_code do_system(talk *t, const char *rest, sail_err *err)
{
    t->system = *rest ? sail__arena_strdup(t->c->arena, rest) : NULL;
    return *rest && !t->system ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

static sail_code do_save(talk *t, const char *rest, sail_err *err)
{
    if (!*rest)
        return sail_fail(err, SAIL_E_USAGE, "/save needs the name of a file: /save FILE");
    SAIL_TRY(sail__cli_not_of_model(t->c, "/save", NULL, rest, err));
    SAIL_TRY(save(t, rest, err));
    sail_log(t->c->ctx, SAIL_LOG_INFO, "%zu messages are in %s", t->n + (t->system != NULL), rest);
    return SAIL_OK;
}

static sail_code do_undo(talk *t, const char *rest, sail_err *err)
{
    return take_back(t) ? SAIL_OK : sail_fail(err, SAIL_E_USAGE, "/undo: nothing has been said yet");
}

static sail_code do_quit(talk *t, const char *rest, sail_err *err)
{
    t->quit = true;
    return SAIL_OK;
}

static const struct command {
    const char *name, *args, *help;
    sail_code (*run)(talk *t, const char *rest, sail_err *err);
} commands[] = {
    {"help", "", "this list", do_help},
    {"system", " TEXT", "the system message from now on, of the whole conversation; without TEXT: none", do_system},
    {"undo", "", "take back the last question and its answer", do_undo},
    {"reset", "", "forget the conversation; the system message stays", do_reset},
    {"save", " FILE", "write the conversation as JSON, for --messages", do_save},
    {"quit", "", "end (Ctrl-D likewise)", do_quit},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static sail_code do_help(talk *t, const char *rest, sail_err *err)
{
    for (size_t i = 0; i < COMMANDS; i++)
        sail__cli_line(t->c, "  /%s%-*s %s", commands[i].name, (int)(12 - strlen(commands[i].name)), commands[i].args, commands[i].help);
    sail__cli_line(t->c, "A line that ends in \\ goes on in the next; // begins a message with /. Ctrl-C stops an answer.");
    return SAIL_OK;
}

static sail_code command(talk *t, const char *line, sail_err *err)
{
    const char *names[COMMANDS], *rest = line + strcspn(line, " \t");
    char *name = sail__arena_strndup(t->c->arena, line, (size_t)(rest - line));
    rest += strspn(rest, " \t");
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (name && strcmp(name, names[i]) == 0)
            return *rest && !*commands[i].args ? sail_fail(err, SAIL_E_USAGE, "/%s takes nothing behind it", name) : commands[i].run(t, rest, err);
    }
    const char *near = name ? sail__nearest(name, names, COMMANDS) : NULL;
    return near ? sail_fail(err, SAIL_E_USAGE, "there is no /%s; did you mean /%s?", name, near)
                : sail_fail(err, SAIL_E_USAGE, "there is no /%s; /help lists what there is, and // begins a message with /", name ? name : "");
}

static sail_code take_line(talk *t, const char *line, size_t len, sail_err *err)
{
    if (len == 0)
        return SAIL_OK;
    if (line[0] != '/')
        return ask(t, line, len, err);
    return line[1] == '/' ? ask(t, line + 1, len - 1, err) : command(t, line + 1, err);
}

/* ---- the program ---- */

/* On a terminal a mistake is told and the conversation goes on; a script ends with it. */
static sail_code converse(talk *t, sail__lines *in, sail_err *err)
{
    while (!t->quit) {
        const char *line;
        size_t len;
        sail__lines_result got;
        if (t->interactive)
            SAIL_TRY(sail__cli_output(t->c, NULL, "> ", 2, err));
        SAIL_TRY(sail__lines_next(in, &line, &len, &got, err));
        if (sail_cancelled(t->c->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped");
        if (got == SAIL__LINES_SIGNAL || got == SAIL__LINES_END) {
            if (t->interactive)
                SAIL_TRY(sail__cli_output(t->c, NULL, "\n", 1, err));
            if (got == SAIL__LINES_END)
                return SAIL_OK;
            if (t->interactive)
                sail_log(t->c->ctx, SAIL_LOG_INFO, "Ctrl-D or /quit ends");
            continue;
        }
        sail_code code = take_line(t, line, len, err);
        if (code == SAIL_OK)
            continue;
        if (code == SAIL_E_CANCEL || code == SAIL_E_IO || code == SAIL_E_NOMEM || !t->interactive)
            return err->message[0] ? sail_fail_in(err, "standard input:%lld", (long long)in->line) : code;
        sail_log(t->c->ctx, SAIL_LOG_ERROR, "%s", err->message);
    }
    return SAIL_OK;
}

static sail_code begin(talk *t, sail_err *err)
{
    const sail__cli_want want = {.dtype = -1, .template_name = t->o->template_name};
    SAIL_TRY(sail__cli_open_model(t->c, &want, &t->session, err));
    if (!t->session->tokenizer)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s has no tokenizer.json, which a conversation needs", t->session->path);
    if (!t->o->template_name && !sail__tokenizer_chat_template(t->session->tokenizer))
        sail_log(t->c->ctx, SAIL_LOG_WARN, "%s has no chat template: messages stand as plain text; name one with --template", t->session->path);
    SAIL_TRY(sail__answer_begin(&t->answer, t->session->tokenizer, t->c->sampling.stop, err)); /* are the stop strings right? */
    if (!(t->scratch = sail__token_scratch_new(t->session->tokenizer)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__generator_new(t->session->model, SAIL__POLICY, 1, &t->generator, err));
    sail__generator_keep(t->generator);
    t->ends = sail__session_ends(t->session, &t->n_ends);
    if (t->o->messages)
        SAIL_TRY(read_messages(t, t->o->messages, err));
    if (t->o->system)
        t->system = t->o->system;
    return sail_cancelled(t->c->ctx) ? sail_fail(err, SAIL_E_CANCEL, "stopped") : SAIL_OK;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    talk t = {.c = c, .o = c->options, .interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !c->json};
    sail_code code = begin(&t, err);
    if (code == SAIL_OK) {
        t.signals = sail__cli_interrupts(c);
        if (t.interactive)
            sail__cli_line(c, "%s%s, %s; /help lists commands, Ctrl-D ends%s", sail__tone_code(c, SAIL__DIM), sail__path_base(c->model.model),
                           sail__template_name(t.session->chat), sail__tone_code(c, SAIL__PLAIN));
        sail__lines in = {.fd = STDIN_FILENO, .signals = t.signals};
        code = converse(&t, &in, err);
        sail__lines_free(&in);
    }
    sail__generator_free(t.generator);
    sail__token_scratch_free(t.scratch);
    sail__free(t.messages);
    sail__buf_free(&t.text);
    sail__session_close(t.session);
    return code;
}

static const sail__example examples[] = {
    {"sail chat --model SmolLM2-135M-Instruct.gguf --temperature 0.7", "a conversation"},
    {"sail chat --model SmolLM2-135M-Instruct --adapter runs/first/align/output --system 'Be brief.'", "with what a run has made of it"},
    {"printf 'Hello\\n/save talk.json\\n' | sail chat --model m.gguf --greedy", "from a script"},
    {0},
};
const sail__command sail__cmd_chat = {
    .name = "chat",
    .args = "",
    .summary = "a conversation with a model",
    .doc = "Each line is a message, or a command: /help, /system TEXT, /undo, /reset, /save FILE, /quit. Answers appear as they are written; Ctrl-C "
           "stops one and keeps what there is, Ctrl-D ends. What has been computed of the conversation is kept, so that a turn costs its own "
           "tokens. When the conversation outgrows the model's positions its oldest turns are left out, and that is said; the system message "
           "stays. Without a terminal messages are read line by line, nothing but answers goes to standard output, and the first mistake ends "
           "the program; --json prints a line for each answer.",
    .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_SAMPLING | SAIL__CLI_SIGNALS | SAIL__CLI_JSON,
    .options = options,
    .options_size = sizeof(struct chat_options),
    .examples = examples,
    .run = run,
};
