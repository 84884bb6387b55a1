/* cli.c - from argv to a command's typed options, and from its result to an exit status. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli_impl.h"
#include "align/judges.h"
#include "backend/profile.h"
#include "io/hub.h"
#include "../lua/sail_lua.h"

/* ---- the tables of a command ---- */

option_tables sail__cli_tables(const sail__command *cmd)
{
    option_tables t = {0};
    const struct {
        bool used;
        const sail_opt *table;
        const char *title;
    } all[] = {
        {cmd->options != NULL, cmd->options, "Options"},
        {(cmd->flags & (SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL)) != 0, sail__cli_model_options, "Model"},
        {(cmd->flags & SAIL__CLI_SAMPLING) != 0, sail__cli_sampling_options, "Sampling"},
        {(cmd->flags & SAIL__CLI_JSON) != 0, sail__cli_json_options, "Common"},
        {true, sail__cli_common_options, "Common"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].used) {
            t.table[t.n] = all[i].table;
            t.title[t.n++] = all[i].title;
        }
    return t;
}

const char *sail__cli_option_name(const sail_opt *o, char name[64])
{
    snprintf(name, 64, "%s", o->name);
    for (char *c = name; *c; c++)
        if (*c == '_')
            *c = '-';
    return name;
}

void sail__cli_metavar(const sail_opt *o, sail_buf *out)
{
    if (o->type == SAIL_OPT_TYPE_BOOL)
        return;
    if (o->type == SAIL_OPT_TYPE_CHOICE)
        for (size_t i = 0; o->choices[i]; i++)
            sail__buf_printf(out, "%s%s", i ? "|" : "", o->choices[i]);
    else if (o->unit && o->unit[0] >= 'A' && o->unit[0] <= 'Z')
        sail__buf_str(out, o->unit);
    else
        sail__buf_str(out, o->type == SAIL_OPT_TYPE_INT   ? "N"
                           : o->type == SAIL_OPT_TYPE_F64 ? "X"
                           : o->flags & SAIL_OPT_PATH     ? "PATH"
                                                          : "TEXT");
}

/* ---- parsing ---- */

typedef struct parser {
    sail__cli *c;
    option_tables tables;
    sail_node *given[SAIL__CLI_TABLES]; /* a map for each table */
    const char **args;
    size_t n_args;
} parser;

static const sail_opt *find(const parser *p, const char *name, size_t *table)
{
    for (*table = 0; *table < p->tables.n; ++*table)
        for (const sail_opt *o = p->tables.table[*table]; o->name; o++)
            if (sail__name_equal(o->name, name))
                return o;
    return NULL;
}

static sail_code unknown(const parser *p, const char *name, sail_err *err)
{
    const char *names[256];
    size_t n = 0;
    for (size_t t = 0; t < p->tables.n; t++)
        for (const sail_opt *o = p->tables.table[t]; o->name && n < 256; o++)
            names[n++] = o->name;
    const char *near = sail__nearest(name, names, n);
    char with_hyphens[64] = "";
    for (size_t i = 0; near && near[i] && i < 63; i++)
        with_hyphens[i] = near[i] == '_' ? '-' : near[i], with_hyphens[i + 1] = '\0';
    return near ? sail_fail(err, SAIL_E_USAGE, "there is no option --%s; did you mean --%s?", name, with_hyphens)
                : sail_fail(err, SAIL_E_USAGE, "there is no option --%s; `sail help %s` lists them", name, p->c->command->name);
}

static sail_node *value_node(parser *p, const sail_opt *o, const char *text)
{
    sail_arena *a = p->c->arena;
    sail_node *n = sail__node_string(a, text, "command line");
    char *end;
    if (!n)
        return NULL;
    n->string.quoted = o->type == SAIL_OPT_TYPE_STR || o->type == SAIL_OPT_TYPE_NODE;
    errno = 0;
    if (o->type == SAIL_OPT_TYPE_INT && *text) {
        long long i = strtoll(text, &end, 10);
        if (!*end && !errno) {
            n->kind = SAIL_NODE_INT;
            n->integer = i;
        }
    }
    return n;
}

static sail_code put(parser *p, const sail_opt *o, size_t table, const char *text, sail_err *err)
{
    sail_arena *a = p->c->arena;
    sail_node *map = p->given[table], *value = value_node(p, o, text), *list = NULL;
    bool done = value != NULL;
    if (done && o->type == SAIL_OPT_TYPE_NODE) {
        list = sail__node_get(map, o->name);
        if (!list)
            list = sail__node_new(a, SAIL_NODE_LIST, "command line", 0, 0);
        done = list && sail__node_append(a, list, value);
        value = list;
    }
    return done && sail__node_set(a, map, o->name, value) ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code option(parser *p, int argc, char **argv, int *at, sail_err *err)
{
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    char *name = sail__arena_strndup(p->c->arena, text, equals ? (size_t)(equals - text) : strlen(text));
    size_t table = 0;
    if (!name)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    const sail_opt *o = find(p, name, &table);
    if (!o && !strncmp(name, "no-", 3) && !equals) {
        o = find(p, name + 3, &table);
        if (o && o->type == SAIL_OPT_TYPE_BOOL)
            return put(p, o, table, "false", err);
        o = NULL;
    }
    if (!o)
        return unknown(p, name, err);
    if (equals)
        return put(p, o, table, equals + 1, err);
    if (o->type == SAIL_OPT_TYPE_BOOL)
        return put(p, o, table, "true", err);
    if (*at + 1 >= argc) {
        sail_buf value = {0};
        sail__cli_metavar(o, &value);
        sail_fail(err, SAIL_E_USAGE, "--%s needs a value: --%s %s", name, name, value.data ? value.data : "");
        sail__buf_free(&value);
        return err->code;
    }
    return put(p, o, table, argv[++*at], err);
}

static sail_code short_options(parser *p, const char *letters, sail_err *err)
{
    for (; *letters; letters++) {
        const char *name = *letters == 'h' ? "help" : *letters == 'v' ? "verbose" : *letters == 'q' ? "quiet" : NULL;
        size_t table = 0;
        if (!name)
            return sail_fail(err, SAIL_E_USAGE, "there is no option -%c; `sail help %s` lists them", *letters, p->c->command->name);
        const sail_opt *o = find(p, name, &table);
        SAIL_TRY(put(p, o, table, "true", err));
    }
    return SAIL_OK;
}

static sail_code split(parser *p, int argc, char **argv, sail_err *err)
{
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        if (!only_args && !strcmp(text, "--"))
            only_args = true;
        else if (!only_args && !strncmp(text, "--", 2))
            SAIL_TRY(option(p, argc, argv, &i, err));
        else if (!only_args && text[0] == '-' && text[1] && !(text[1] >= '0' && text[1] <= '9'))
            SAIL_TRY(short_options(p, text + 1, err));
        else
            p->args[p->n_args++] = text;
    }
    return SAIL_OK;
}

/* The first problem as "--max-new: …", the others after it. */
static sail_code problems_error(const sail_problems *problems, sail_err *err)
{
    sail_buf b = {0};
    for (size_t i = 0; i < problems->n; i++) {
        char name[64];
        sail_opt o = {.name = problems->items[i].path};
        sail__buf_printf(&b, "%s--%s %s", i ? "; " : "", sail__cli_option_name(&o, name), problems->items[i].message);
    }
    sail_fail(err, SAIL_E_USAGE, "%s", b.data ? b.data : "wrong options");
    sail__buf_free(&b);
    return err->code;
}

sail_code sail__cli_path(sail__cli *c, const char *text, const char **path, sail_err *err)
{
    *path = text;
    return sail__hub_is_name(text) ? sail__hub_find(c->arena, text, path, err) : SAIL_OK;
}

/* Paths of a table that are names of the Hugging Face cache. */
static sail_code find_names(parser *p, const sail_opt *table, sail_node *given, sail_err *err)
{
    for (const sail_opt *o = table; o->name; o++) {
        sail_node *n = o->flags & SAIL_OPT_PATH ? sail__node_get(given, o->name) : NULL;
        size_t count = !n ? 0 : n->kind == SAIL_NODE_LIST ? n->list.n : 1;
        for (size_t i = 0; i < count; i++) {
            sail_node *value = n->kind == SAIL_NODE_LIST ? n->list.items[i] : n;
            char name[64];
            if (!value->string.len)
                return sail_fail(err, SAIL_E_USAGE, "--%s is empty: a path is wanted", sail__cli_option_name(o, name));
            if (sail__cli_path(p->c, value->string.data, &value->string.data, err) != SAIL_OK)
                return sail_fail_in(err, "--%s", sail__cli_option_name(o, name));
            value->string.len = strlen(value->string.data);
        }
    }
    return SAIL_OK;
}

static sail_code fill(parser *p, common_options *common, sail_err *err)
{
    sail__cli *c = p->c;
    const bool help = sail__node_get(p->given[p->tables.n - 1], "help") != NULL;
    sail_problems problems = {.arena = c->arena};
    common_options json = {0};
    for (size_t t = 0; t < p->tables.n; t++) {
        const sail_opt *table = p->tables.table[t];
        void *out = table == c->command->options          ? c->options
                    : table == sail__cli_model_options    ? (void *)&c->model
                    : table == sail__cli_sampling_options ? (void *)&c->sampling
                    : table == sail__cli_json_options     ? (void *)&json
                                                          : (void *)common;
        if (!help)
            SAIL_TRY(find_names(p, table, p->given[t], err));
        sail__opt_parse(table, p->given[t], "", NULL, NULL, NULL, out, &problems);
    }
    common->json = json.json;
    if (common->help)
        return SAIL_OK;
    if (sail__problems_oom(&problems))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    return problems.n ? problems_error(&problems, err) : SAIL_OK;
}

static sail_code check_args(const sail__cli *c, sail_err *err)
{
    const sail__command *cmd = c->command;
    if (cmd->max_args >= 0 && c->n_args > (size_t)cmd->max_args)
        return sail_fail(err, SAIL_E_USAGE, "`%s` is one argument too many; usage: sail %s%s%s [options]", c->args[cmd->max_args], cmd->name,
                         *cmd->args ? " " : "", cmd->args);
    if (c->n_args < (size_t)cmd->min_args)
        return sail_fail(err, SAIL_E_USAGE, "an argument is missing; usage: sail %s %s [options]", cmd->name, cmd->args);
    if (cmd->flags & SAIL__CLI_NEEDS_MODEL && !c->model.model)
        return sail_fail(err, SAIL_E_USAGE, "--model is missing: a Hugging Face directory, a GGUF file, or hf:OWNER/NAME");
    if (!(cmd->flags & SAIL__CLI_SUB) || !c->n_args)
        return SAIL_OK;
    size_t n = 0;
    for (; cmd->subcommands[n]; n++)
        if (!strcmp(cmd->subcommands[n], c->args[0]))
            return SAIL_OK;
    const char *near = sail__nearest(c->args[0], cmd->subcommands, n);
    return near ? sail_fail(err, SAIL_E_USAGE, "there is no `sail %s %s`; did you mean `%s`?", cmd->name, c->args[0], near)
                : sail_fail(err, SAIL_E_USAGE, "there is no `sail %s %s`; usage: sail %s %s", cmd->name, c->args[0], cmd->name, cmd->args);
}

static sail_code parse(sail__cli *c, int argc, char **argv, common_options *common, sail_err *err)
{
    parser p = {.c = c, .tables = sail__cli_tables(c->command)};
    p.args = sail__arena_array(c->arena, (size_t)argc + 1, sizeof *p.args);
    if (c->command->options_size)
        c->options = sail__arena_alloc(c->arena, c->command->options_size);
    if (!p.args || (c->command->options_size && !c->options))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t t = 0; t < p.tables.n; t++)
        if (!(p.given[t] = sail__node_new(c->arena, SAIL_NODE_MAP, "command line", 0, 0)))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(split(&p, argc, argv, err));
    c->args = p.args;
    c->n_args = p.n_args;
    SAIL_TRY(fill(&p, common, err));
    return common->help ? SAIL_OK : check_args(c, err);
}

/* ---- terminal ---- */

static void look_at_terminal(sail__cli *c)
{
    struct winsize size;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool colors = !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
    c->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    c->color = colors && isatty(STDOUT_FILENO);
    c->color_err = colors && c->terminal;
    c->width = 80;
    if ((ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) && size.ws_col >= 20)
        c->width = size.ws_col;
}

const char *sail__tone_code(const sail__cli *c, sail__tone tone)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[34m", "\033[36m"};
    return c->color ? codes[tone] : "";
}

void sail__cli_line(sail__cli *c, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (text) {
        vsnprintf(text, (size_t)n + 1, fmt, again);
        sail__screen_line(c->screen, stdout, text);
    }
    va_end(again);
    free(text);
}

void sail__cli_profile(sail__cli *c, const struct sail__profile *p)
{
    sail_buf b = {0};
    sail__profile_text(p, &b);
    for (char *line = b.oom ? NULL : b.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        sail__cli_line(c, "%s", line);
    }
    sail__buf_free(&b);
}

void sail__cli_status(sail__cli *c, const char *text) { sail__screen_status(c->screen, text); }
void sail__cli_clear(sail__cli *c) { sail__screen_clear(c->screen); }

/* The reader of a pipe that has seen enough is no error to speak of. */
static sail_code output_failed(sail_err *err)
{
    if (errno != EPIPE)
        return sail_fail(err, SAIL_E_IO, "standard output: %s", strerror(errno));
    *err = (sail_err){.code = SAIL_E_IO};
    return SAIL_E_IO;
}

void sail__cli_problems(sail__cli *c, sail_log_level level, const sail_problems *p, size_t first)
{
    for (size_t i = first; i < p->n; i++)
        sail_log(c->ctx, level, "%s%s%s: %s", p->items[i].where, *p->items[i].where ? ": " : "", p->items[i].path, p->items[i].message);
}

sail_code sail__cli_output(sail__cli *c, const char *path, const void *data, size_t size, sail_err *err)
{
    if (path && strcmp(path, "-") != 0)
        return sail__file_write(path, data, size, err);
    sail__cli_clear(c);
    if (size && (fwrite(data, 1, size, stdout) != size || fflush(stdout) != 0))
        return output_failed(err);
    return SAIL_OK;
}

sail_code sail__cli_write_json(sail__cli *c, const char *path, const sail_node *n, sail_err *err)
{
    sail_buf b = {0};
    sail__node_to_json(&b, n);
    sail__buf_str(&b, "\n");
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(c, path, b.data, b.len, err);
    sail__buf_free(&b);
    return code;
}

sail_code sail__cli_print_json(sail__cli *c, const sail_node *n, sail_err *err)
{
    return sail__cli_write_json(c, NULL, n, err);
}

const char *sail__cli_recipes_dir(sail__cli *c)
{
    /* beside the program: the build tree's (BUILD/../recipes) or the installed ones (PREFIX/share/sail/recipes) */
    static const char *const places[] = {"../recipes", "../share/sail/recipes"};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return NULL;
    self[n] = '\0';
    const char *dir = sail__path_dir(c->arena, self);
    for (size_t i = 0; dir && i < sizeof places / sizeof places[0]; i++) {
        const char *path = sail__path_join(c->arena, dir, places[i]);
        if (path && sail__is_dir(path))
            return path;
    }
#ifdef SAIL_DATADIR
    if (sail__is_dir(SAIL_DATADIR "/sail/recipes"))
        return SAIL_DATADIR "/sail/recipes";
#endif
    return NULL;
}

/* ---- running ---- */

static int report(sail__cli *c, sail_code code, const sail_err *err, int signal_number)
{
    if (c->screen)
        sail__screen_clear(c->screen);
    if (code == SAIL_OK)
        return 0;
    if (code == SAIL_E_CANCEL && signal_number)
        return 128 + signal_number;
    if (err->message[0])
        fprintf(stderr, "%ssail%s%s: %s%s\n", c->color_err ? "\033[31m" : "", c->command ? " " : "", c->command ? c->command->name : "",
                c->color_err ? "\033[0m" : "", err->message);
    return sail_code_status(code);
}

static sail_code show_help(sail__cli *c, const sail__command *cmd, sail_err *err)
{
    sail_buf b = {0};
    if (cmd)
        sail__help_command(&b, c, cmd);
    else
        sail__help_overview(&b, c);
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(c, NULL, b.data, b.len, err);
    sail__buf_free(&b);
    return code;
}

static int run_command(sail__cli *c, int argc, char **argv, sail_err *err)
{
    common_options common = {0};
    sail_code code = parse(c, argc, argv, &common, err);
    if (code != SAIL_OK)
        return report(c, code, err, 0);
    c->json = common.json;
    c->quiet = common.quiet;
    c->verbose = common.verbose && !common.quiet;
    if (!(c->screen = sail__screen_new(c)))
        return report(c, sail_fail(err, SAIL_E_NOMEM, "out of memory"), err, 0);
    c->signals = c->command->flags & SAIL__CLI_SIGNALS && !common.help ? sail__signals_start(c->ctx) : NULL;
    code = common.help ? show_help(c, c->command, err) : c->command->run(c, err);
    int came = sail__signals_stop(c->signals);
    const int lost = fflush(stdout) != 0 ? errno : sail__screen_lost(c->screen);
    if (code == SAIL_OK && lost && !c->only_progress) {
        errno = lost;
        code = output_failed(err);
    }
    return report(c, code, err, came);
}

static int dispatch(sail__cli *c, int argc, char **argv, sail_err *err)
{
    if (argc < 2) {
        sail_buf b = {0};
        sail__help_overview(&b, c);
        fputs(b.data ? b.data : "", stderr);
        sail__buf_free(&b);
        return 2;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version") || !strcmp(name, "-V"))
        name = "version";
    c->command = sail__command_find(name);
    if (c->command)
        return run_command(c, argc - 2, argv + 2, err);
    const char *names[128];
    size_t n, k = 0;
    const sail__command *const *all = sail__commands(&n);
    for (size_t i = 0; i < n && k < 128; i++)
        if (!(all[i]->flags & SAIL__CLI_HIDDEN))
            names[k++] = all[i]->name;
    const char *near = sail__nearest(name, names, k);
    if (near)
        sail_fail(err, SAIL_E_USAGE, "there is no command `%s`; did you mean `%s`?", name, near);
    else
        sail_fail(err, SAIL_E_USAGE, "there is no command `%s`; `sail help` lists them", name);
    return report(c, SAIL_E_USAGE, err, 0);
}

/* What the commands find in the context. False: out of memory. */
static bool install(sail__cli *c, sail_err *err)
{
    c->ctx = sail_ctx_new();
    c->arena = sail__arena_new();
    if (!c->ctx || !c->arena || !sail__lua_install(c->ctx) || sail__judges_install(c->ctx, err) != SAIL_OK)
        return false;
    const char *recipes = sail__cli_recipes_dir(c);
    return (!recipes || sail__recipe_set_library(c->ctx, recipes)) && !sail__arena_oom(c->arena);
}

int sail__cli_main(int argc, char **argv)
{
    sail_err err = {0};
    sail__cli c = {.program = argc ? argv[0] : "sail"};
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of writing */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow */
    look_at_terminal(&c);
    int status = 1;
    if (!install(&c, &err))
        fputs("sail: out of memory\n", stderr);
    else
        status = dispatch(&c, argc, argv, &err);
    sail__screen_free(c.screen);
    sail__arena_free(c.arena);
    sail_ctx_free(c.ctx);
    return status;
}
