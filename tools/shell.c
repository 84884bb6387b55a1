/* shell.c - the man page and shell completions, from the same tables. */
#include "cli_impl.h"

/* ---- man page ---- */

static void troff(sail_buf *out, const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            sail__buf_str(out, "\\&");
        if (*text == '\\')
            sail__buf_str(out, "\\e");
        else if (*text == '-')
            sail__buf_str(out, "\\-");
        else
            sail__buf_add(out, text, 1);
        start = *text == '\n';
    }
}

static void man_options(sail_buf *out, const sail_opt *table)
{
    for (const sail_opt *o = table; o->name; o++) {
        char name[64];
        sail_buf metavar = {0};
        if (o->flags & SAIL_OPT_HIDDEN)
            continue;
        sail__cli_metavar(o, &metavar);
        sail__buf_str(out, ".TP\n\\fB");
        troff(out, o->type == SAIL_OPT_TYPE_BOOL && o->def != 0 ? "--no-" : "--");
        troff(out, sail__cli_option_name(o, name));
        sail__buf_str(out, "\\fR");
        if (metavar.len) {
            sail__buf_str(out, " \\fI");
            troff(out, metavar.data);
            sail__buf_str(out, "\\fR");
        }
        sail__buf_str(out, "\n");
        troff(out, o->help ? o->help : "");
        sail__buf_str(out, "\n");
        sail__buf_free(&metavar);
    }
}

static void man_command(sail_buf *out, const sail__command *cmd)
{
    sail__buf_str(out, ".SS \"");
    troff(out, cmd->name);
    sail__buf_str(out, "\"\n.B sail ");
    troff(out, cmd->name);
    sail__buf_str(out, "\n.I ");
    troff(out, cmd->args);
    sail__buf_str(out, "\n.RI [ options ]\n.PP\n");
    troff(out, cmd->summary);
    sail__buf_str(out, ".\n");
    if (cmd->doc) {
        sail__buf_str(out, ".PP\n");
        for (const char *p = cmd->doc; *p;) {
            const char *end = strstr(p, "\n\n");
            char line[2048];
            size_t n = end ? (size_t)(end - p) : strlen(p);
            snprintf(line, sizeof line, "%.*s", (int)n, p);
            troff(out, line);
            sail__buf_str(out, end ? "\n.PP\n" : "\n");
            p += n + (end ? 2 : 0);
        }
    }
    if (cmd->options)
        man_options(out, cmd->options);
    if (cmd->flags & (SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL))
        sail__buf_str(out, ".PP\nand the options under\n.B Model\nbelow.\n");
    for (const sail__example *e = cmd->examples; e && e->command; e++) {
        sail__buf_str(out, ".PP\n.RS 4\n.nf\n");
        troff(out, e->command);
        sail__buf_str(out, "\n.fi\n.RE\n");
    }
}

void sail__man_page(sail_buf *out)
{
    size_t n;
    sail_err ignored;
    const sail__command *const *all = sail__commands(&n);
    sail__buf_str(out, ".TH SAIL 1 \"\" \"sail\" \"User Commands\"\n.SH NAME\nsail \\- online preference alignment of language models\n"
                       ".SH SYNOPSIS\n.B sail\n.I COMMAND\n.RI [ arguments ]\n.RI [ options ]\n"
                       ".SH DESCRIPTION\n.B sail\ntrains language models on preferences, online: supervised fine\\-tuning, direct "
                       "preference optimisation and its relatives, with responses written by the policy and labelled by data, the "
                       "policy itself or a judge. A recipe in YAML or Lua says what a run does.\n.SH COMMANDS\n");
    for (size_t i = 0; i < n; i++)
        if (!(all[i]->flags & SAIL__CLI_HIDDEN))
            man_command(out, all[i]);
    sail__buf_str(out, ".SH MODEL\nOptions of every command on a model.\n");
    man_options(out, sail__cli_model_options);
    sail__buf_str(out, ".SH COMMON OPTIONS\n");
    man_options(out, sail__cli_json_options);
    man_options(out, sail__cli_common_options);
    static const char *const sections[][2] = {{"EXIT STATUS", "exit"}, {"ENVIRONMENT", "environment"}, {"FILES", "files"}, {"NAMES OF THE HUB", "hub"}};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        sail_buf text = {0};
        sail__help_topic(&text, NULL, sections[i][1], &ignored);
        sail__buf_printf(out, ".SH \"%s\"\n.nf\n", sections[i][0]);
        troff(out, text.data ? text.data : "");
        sail__buf_str(out, ".fi\n");
        sail__buf_free(&text);
    }
}

/* ---- completions ---- */

typedef void each_option(sail_buf *out, const sail__command *cmd, const sail_opt *o, const char *name);

static void for_options(sail_buf *out, const sail__command *cmd, each_option *fn)
{
    option_tables t = sail__cli_tables(cmd);
    for (size_t i = 0; i < t.n; i++)
        for (const sail_opt *o = t.table[i]; o->name; o++) {
            char name[64], given[68];
            bool on = o->type == SAIL_OPT_TYPE_BOOL && o->def != 0; /* what is on can only be switched off */
            snprintf(given, sizeof given, "%s%s", on ? "no-" : "", sail__cli_option_name(o, name));
            if (!(o->flags & SAIL_OPT_HIDDEN))
                fn(out, cmd, o, given);
        }
}

/* What a command's first argument can be, where that is a fixed list. */
static const char *const *words(const sail__command *cmd, size_t i)
{
    return cmd->subcommands ? &cmd->subcommands[i] : NULL;
}

/* In single quotes for a shell. */
static void quoted(sail_buf *out, const char *text)
{
    sail__buf_str(out, "'");
    for (; *text; text++)
        if (*text == '\'')
            sail__buf_str(out, "'\\''");
        else
            sail__buf_add(out, text, 1);
    sail__buf_str(out, "'");
}

static void bash_option(sail_buf *out, const sail__command *cmd, const sail_opt *o, const char *name)
{
    (void)cmd, (void)o;
    sail__buf_printf(out, "--%s ", name);
}

static void bash_choices(sail_buf *out, const sail__command *cmd, const sail_opt *o, const char *name)
{
    (void)cmd;
    if (o->type != SAIL_OPT_TYPE_CHOICE)
        return;
    sail__buf_printf(out, "            %s.--%s) COMPREPLY=($(compgen -W '", cmd->name, name);
    for (size_t i = 0; o->choices[i]; i++)
        sail__buf_printf(out, "%s%s", i ? " " : "", o->choices[i]);
    sail__buf_str(out, "' -- \"$cur\")); return ;;\n");
}

static void bash(sail_buf *out)
{
    size_t n;
    const sail__command *const *all = sail__commands(&n);
    sail__buf_str(out, "# bash completion of sail; made by `sail completions bash`\n_sail() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]}\n"
                       "    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < n; i++)
        sail__buf_printf(out, "%s%s", i ? " " : "", all[i]->name);
    sail__buf_str(out, "' -- \"$cur\"))\n        return\n    fi\n    case $cmd.$prev in\n");
    for (size_t i = 0; i < n; i++)
        for_options(out, all[i], bash_choices);
    sail__buf_str(out, "    esac\n    case $cmd in\n");
    for (size_t i = 0; i < n; i++) {
        sail__buf_printf(out, "        %s)\n            [[ $cur == -* ]] && { COMPREPLY=($(compgen -W '", all[i]->name);
        for_options(out, all[i], bash_option);
        sail__buf_str(out, "' -- \"$cur\")); return; }\n");
        if (all[i]->subcommands) {
            sail__buf_str(out, "            ((COMP_CWORD == 2)) && { COMPREPLY=($(compgen -W '");
            for (size_t k = 0; *words(all[i], k); k++)
                sail__buf_printf(out, "%s%s", k ? " " : "", *words(all[i], k));
            sail__buf_str(out, "' -- \"$cur\")); return; }\n");
        }
        sail__buf_str(out, "            ;;\n");
    }
    sail__buf_str(out, "    esac\n    COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -o filenames -F _sail sail\n");
}

static void zsh_option(sail_buf *out, const sail__command *cmd, const sail_opt *o, const char *name)
{
    (void)cmd;
    sail_buf spec = {0};
    sail__buf_printf(&spec, "%s--%s%s[", o->type == SAIL_OPT_TYPE_NODE ? "*" : "", name, o->type == SAIL_OPT_TYPE_BOOL ? "" : "=");
    for (const char *h = o->help ? o->help : ""; *h; h++)
        sail__buf_printf(&spec, strchr("[]\\:", *h) ? "\\%c" : "%c", *h);
    sail__buf_str(&spec, "]");
    if (o->type == SAIL_OPT_TYPE_CHOICE) {
        sail__buf_printf(&spec, ":%s:(", name);
        for (size_t i = 0; o->choices[i]; i++)
            sail__buf_printf(&spec, "%s%s", i ? " " : "", o->choices[i]);
        sail__buf_str(&spec, ")");
    } else if (o->type != SAIL_OPT_TYPE_BOOL) {
        sail__buf_printf(&spec, ":%s:%s", name, o->flags & SAIL_OPT_PATH ? "_files" : " ");
    }
    sail__buf_str(out, "                ");
    quoted(out, spec.data ? spec.data : "");
    sail__buf_str(out, " \\\n");
    sail__buf_free(&spec);
}

static void zsh(sail_buf *out)
{
    size_t n;
    const sail__command *const *all = sail__commands(&n);
    sail__buf_str(out, "#compdef sail\n# zsh completion of sail; made by `sail completions zsh`\n_sail() {\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < n; i++) {
        sail_buf row = {0};
        sail__buf_printf(&row, "%s:%s", all[i]->name, all[i]->summary);
        sail__buf_str(out, "        ");
        quoted(out, row.data ? row.data : "");
        sail__buf_str(out, "\n");
        sail__buf_free(&row);
    }
    sail__buf_str(out, "    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
                       "    local cmd=$words[2]\n    shift words\n    ((CURRENT--))\n    case $cmd in\n");
    for (size_t i = 0; i < n; i++) {
        sail__buf_printf(out, "        %s)\n            _arguments \\\n", all[i]->name);
        for_options(out, all[i], zsh_option);
        if (all[i]->subcommands) {
            sail__buf_str(out, "                '1:what:(");
            for (size_t k = 0; *words(all[i], k); k++)
                sail__buf_printf(out, "%s%s", k ? " " : "", *words(all[i], k));
            sail__buf_str(out, ")' \\\n");
        }
        sail__buf_str(out, "                '*:file:_files'\n            ;;\n");
    }
    sail__buf_str(out, "    esac\n}\n_sail \"$@\"\n");
}

static void fish_option(sail_buf *out, const sail__command *cmd, const sail_opt *o, const char *name)
{
    sail__buf_printf(out, "complete -c sail -n '__fish_seen_subcommand_from %s' -l %s%s", cmd->name, name,
                     o->type == SAIL_OPT_TYPE_BOOL ? "" : o->flags & SAIL_OPT_PATH ? " -r -F" : " -x");
    if (o->type == SAIL_OPT_TYPE_CHOICE) {
        sail__buf_str(out, " -a '");
        for (size_t i = 0; o->choices[i]; i++)
            sail__buf_printf(out, "%s%s", i ? " " : "", o->choices[i]);
        sail__buf_str(out, "'");
    }
    sail__buf_str(out, " -d ");
    quoted(out, o->help ? o->help : "");
    sail__buf_str(out, "\n");
}

static void fish(sail_buf *out)
{
    size_t n;
    const sail__command *const *all = sail__commands(&n);
    sail__buf_str(out, "# fish completion of sail; made by `sail completions fish`\n");
    for (size_t i = 0; i < n; i++) {
        sail__buf_printf(out, "complete -c sail -f -n __fish_use_subcommand -a %s -d ", all[i]->name);
        quoted(out, all[i]->summary);
        sail__buf_str(out, "\n");
        if (all[i]->subcommands) {
            sail__buf_printf(out, "complete -c sail -n '__fish_seen_subcommand_from %s' -a '", all[i]->name);
            for (size_t k = 0; *words(all[i], k); k++)
                sail__buf_printf(out, "%s%s", k ? " " : "", *words(all[i], k));
            sail__buf_str(out, "'\n");
        }
        for_options(out, all[i], fish_option);
    }
}

sail_code sail__completions(sail_buf *out, const char *shell, sail_err *err)
{
    if (!strcmp(shell, "bash"))
        bash(out);
    else if (!strcmp(shell, "zsh"))
        zsh(out);
    else if (!strcmp(shell, "fish"))
        fish(out);
    else
        return sail_fail(err, SAIL_E_USAGE, "there are no completions for `%s`; there are: bash, zsh, fish", shell);
    return SAIL_OK;
}
