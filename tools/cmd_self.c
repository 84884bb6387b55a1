/* cmd_self.c - the program about itself: help, version, completions, man. */
#include <string.h>

#include "cli.h"

static sail_code print(sail__cli *c, sail_buf *b, sail_code code, sail_err *err)
{
    if (code == SAIL_OK)
        code = b->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(c, NULL, b->data, b->len, err);
    sail__buf_free(b);
    return code;
}

static sail_code help(sail__cli *c, sail_err *err)
{
    sail_buf b = {0};
    sail_code code = SAIL_OK;
    const sail__command *cmd = c->n_args ? sail__command_find(c->args[0]) : NULL;
    if (!c->n_args)
        sail__help_overview(&b, c);
    else if (cmd)
        sail__help_command(&b, c, cmd);
    else
        code = sail__help_topic(&b, c, c->args[0], err);
    return print(c, &b, code, err);
}

static const sail__example help_examples[] = {
    {"sail help report", "one command: its arguments, options, examples"},
    {"sail help recipe", "every section and option of a recipe"},
    {0},
};
const sail__command sail__cmd_help = {
    .name = "help", .args = "[COMMAND|TOPIC]", .summary = "explain a command or a topic", .max_args = 1, .examples = help_examples, .run = help,
};

static sail_code version(sail__cli *c, sail_err *err)
{
    if (c->json) {
        sail_node *n = sail__cli_map(c);
        sail__cli_put_string(c, n, "version", SAIL_VERSION);
        return sail__cli_print_json(c, n, err);
    }
    sail__cli_line(c, "sail %s", SAIL_VERSION);
    return SAIL_OK;
}

const sail__command sail__cmd_version = {
    .name = "version", .args = "", .summary = "say which version this is", .flags = SAIL__CLI_JSON, .run = version,
};

static const char *const shells[] = {"bash", "zsh", "fish", NULL};
static sail_code completions(sail__cli *c, sail_err *err)
{
    sail_buf b = {0};
    return print(c, &b, sail__completions(&b, c->args[0], err), err);
}

static const sail__example completions_examples[] = {
    {"sail completions bash > ~/.local/share/bash-completion/completions/sail", "for bash, until it is installed with the program"},
    {0},
};
const sail__command sail__cmd_completions = {
    .name = "completions", .args = "bash|zsh|fish", .summary = "print completions for a shell", .min_args = 1, .max_args = 1,
    .flags = SAIL__CLI_SUB, .subcommands = shells, .examples = completions_examples, .run = completions,
};

static sail_code man(sail__cli *c, sail_err *err)
{
    sail_buf b = {0};
    sail__man_page(&b);
    return print(c, &b, SAIL_OK, err);
}

const sail__command sail__cmd_man = {.name = "man", .args = "", .summary = "print the man page (troff)", .run = man};
