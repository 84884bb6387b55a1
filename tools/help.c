/* help.c - help texts, all from the tables of commands and options. */
#include "align/config.h"
#include "cli_impl.h"
#include "../lua/sail_lua.h"

static const char *tone(const sail__cli *c, sail__tone t) { return c ? sail__tone_code(c, t) : ""; }

/* Text wrapped at `width` columns, the following lines indented; paragraphs are kept, lines that begin with a space too. */
static void wrap(sail_buf *out, const char *text, int indent, int at, int width)
{
    while (*text) {
        if (*text == '\n') {
            sail__buf_str(out, "\n");
            text++;
            if (*text && *text != '\n')
                sail__buf_printf(out, "%*s", indent, "");
            at = indent;
            continue;
        }
        size_t n = strcspn(text, " \n"), columns = 0;
        for (size_t i = 0; i < n; i++)
            columns += ((unsigned char)text[i] & 0xc0) != 0x80;
        if (at > indent && at + (int)columns > width) {
            while (out->len && out->data[out->len - 1] == ' ')
                out->data[--out->len] = '\0';
            sail__buf_printf(out, "\n%*s", indent, "");
            at = indent;
        }
        sail__buf_add(out, text, n);
        at += (int)columns;
        text += n;
        while (*text == ' ') {
            if (at < width)
                sail__buf_str(out, " ");
            at++;
            text++;
        }
    }
    /* a space before a line end is nobody's */
    while (out->len && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
}

void sail__help_overview(sail_buf *out, const sail__cli *c)
{
    size_t n;
    const sail__command *const *all = sail__commands(&n);
    const char *group = "";
    sail__buf_printf(out, "%ssail%s trains language models on preferences, online.\n\nusage: sail COMMAND [arguments] [options]\n",
                     tone(c, SAIL__BOLD), tone(c, SAIL__PLAIN));
    for (size_t i = 0; i < n; i++) {
        if (all[i]->flags & SAIL__CLI_HIDDEN)
            continue;
        const char *g = sail__command_group(all[i]);
        if (strcmp(g, group) != 0)
            sail__buf_printf(out, "\n%s%s%s\n", tone(c, SAIL__BOLD), g, tone(c, SAIL__PLAIN));
        group = g;
        sail__buf_printf(out, "  %s%-12s%s ", tone(c, SAIL__CYAN), all[i]->name, tone(c, SAIL__PLAIN));
        wrap(out, all[i]->summary, 15, 15, 100);
        sail__buf_str(out, "\n");
    }
    sail__buf_str(out, "\n`sail help COMMAND` shows one command; `sail help TOPIC` explains:");
    for (const char *const *t = sail__help_topics(); *t; t++)
        sail__buf_printf(out, " %s", *t);
    sail__buf_str(out, "\n");
}

static void default_text(sail_buf *out, const sail_opt *o)
{
    if (o->flags & SAIL_OPT_REQUIRED)
        sail__buf_str(out, " (required)");
    else if (o->type == SAIL_OPT_TYPE_STR && o->def_str)
        sail__buf_printf(out, " (default: %s)", o->def_str);
    else if (o->type == SAIL_OPT_TYPE_CHOICE)
        sail__buf_printf(out, " (default: %s)", o->choices[(size_t)o->def]);
    else if ((o->type == SAIL_OPT_TYPE_INT || o->type == SAIL_OPT_TYPE_F64) && o->def != 0)
        sail__buf_printf(out, " (default: %.15g)", o->def);
}

static void options(sail_buf *out, const sail__cli *c, const sail_opt *table)
{
    for (const sail_opt *o = table; o->name; o++) {
        if (o->flags & SAIL_OPT_HIDDEN)
            continue;
        char name[64];
        sail_buf left = {0}, right = {0};
        bool on = o->type == SAIL_OPT_TYPE_BOOL && o->def != 0;
        sail__buf_printf(&left, "--%s%s", on ? "no-" : "", sail__cli_option_name(o, name));
        size_t name_length = left.len;
        if (o->type != SAIL_OPT_TYPE_BOOL)
            sail__buf_str(&left, " ");
        sail__cli_metavar(o, &left);
        sail__buf_str(&right, o->help ? o->help : "");
        if (o->type == SAIL_OPT_TYPE_NODE)
            sail__buf_str(&right, "; may be given several times");
        default_text(&right, o);
        if (!left.oom && !right.oom) {
            sail__buf_printf(out, "  %s%.*s%s%s", tone(c, SAIL__CYAN), (int)name_length, left.data, tone(c, SAIL__PLAIN), left.data + name_length);
            if (left.len > 24)
                sail__buf_printf(out, "\n%28s", "");
            else
                sail__buf_printf(out, "%*s", (int)(26 - left.len), "");
            wrap(out, right.data, 28, 28, 100);
            sail__buf_str(out, "\n");
        }
        sail__buf_free(&left);
        sail__buf_free(&right);
    }
}

void sail__help_command(sail_buf *out, const sail__cli *c, const sail__command *cmd)
{
    const char *bold = tone(c, SAIL__BOLD), *off = tone(c, SAIL__PLAIN);
    sail__buf_printf(out, "%ssail %s%s - %s\n\nusage: sail %s%s%s [options]\n", bold, cmd->name, off, cmd->summary, cmd->name,
                     *cmd->args ? " " : "", cmd->args);
    if (cmd->doc) {
        sail__buf_str(out, "\n");
        wrap(out, cmd->doc, 0, 0, 100);
        sail__buf_str(out, "\n");
    }
    option_tables t = sail__cli_tables(cmd);
    const char *title = "";
    for (size_t i = 0; i < t.n; i++) {
        if (strcmp(t.title[i], title) != 0)
            sail__buf_printf(out, "\n%s%s%s\n", bold, t.title[i], off);
        title = t.title[i];
        options(out, c, t.table[i]);
    }
    if (cmd->examples && cmd->examples[0].command)
        sail__buf_printf(out, "\n%sExamples%s\n", bold, off);
    for (const sail__example *e = cmd->examples; e && e->command; e++)
        sail__buf_printf(out, "  %s\n      %s%s%s\n", e->command, tone(c, SAIL__DIM), e->what, off);
}

/* ---- topics ---- */

static void topic_recipe(sail_buf *out)
{
    sail__buf_str(
        out,
        "A recipe says what a run does: a YAML or Lua file with the sections below, one stage (`stage: align` by\n"
        "default) or a list of them (`stages: [{stage: sft, …}, {stage: align, …}]`). `extends: FILE` merges another\n"
        "recipe under it; `key=value` on the command line wins over all, as in `train.steps=100`. A number marked\n"
        "`or a schedule` may be {kind: ramp, from: 0, to: 0.3, steps: 50}. A plugin is NAME or {kind: NAME, …}.\n"
        "`sail check RECIPE` says everything that is wrong at once.\n\n"
        "At the top: name (directory under runs), title, seed, runs (default: runs), stage, stages, extends, "
        "plugins.\n");
    for (const sail__section *s = sail__sections; s->name; s++) {
        sail__buf_printf(out, "\n%s: %s\n", s->name, s->help);
        sail__opt_describe(out, s->options, "  ");
        if (s->options == sail__method_table) {
            sail__buf_str(out, "  each of routes:\n");
            sail__opt_describe(out, sail__route_table, "    ");
        }
    }
}

static void topic_exit(sail_buf *out)
{
    sail__buf_str(out, "  0    done\n"
                       "  1    failed while running\n"
                       "  2    wrong usage, recipe or input\n"
                       "  130  stopped by SIGINT (Ctrl-C), after saving\n"
                       "  143  stopped by SIGTERM, after saving\n"
                       "A second signal ends the program at once; the last checkpoint stays whole. Errors\n");
    for (int i = 1; i < SAIL_E_COUNT; i++)
        sail__buf_printf(out, "  %d    %s\n", sail_code_status((sail_code)i), sail_code_text((sail_code)i));
}

static void topic_environment(sail_buf *out)
{
    sail__buf_str(out, "  NO_COLOR          when set and not empty: no colours\n"
                       "  SAIL_PLUGIN_PATH  directories with plugins, colon-separated, searched before the installed ones\n"
                       "  XDG_DATA_HOME     the user's plugins lie in its sail/plugins (default: ~/.local/share)\n"
                       "  TERM              dumb: no progress bar, no colours\n"
                       "and of Hugging Face's, as its own tools read them:\n"
                       "  HF_HUB_CACHE      the cache (default: hub in HF_HOME, which is ~/.cache/huggingface)\n"
                       "  HF_TOKEN          who asks; else the file token in HF_HOME, or what HF_TOKEN_PATH names\n"
                       "  HF_ENDPOINT       another hub than https://huggingface.co\n"
                       "  HF_HUB_OFFLINE    1: `sail pull` asks nobody\n");
}

static void topic_hub(sail_buf *out)
{
    sail__buf_str(out, "Wherever a path is wanted, in recipes and after --model and the like, a name of the Hugging Face hub may stand:\n"
                       "  hf:OWNER/NAME                   the model's directory, or its only GGUF file\n"
                       "  hf:OWNER/NAME@REVISION          a branch, tag or commit; else main\n"
                       "  hf:OWNER/NAME/FILE              one file: its name, a pattern, or letters of its name (Q4_K_M)\n"
                       "  hf:datasets/OWNER/NAME/FILE     data: a file or a pattern\n"
                       "It is looked up in the cache that Hugging Face's own tools fill, too (HF_HUB_CACHE, see `sail help\n"
                       "environment`), without the network; `sail pull OWNER/NAME` fetches what is not there, `sail models` lists\n"
                       "what is, `sail check RECIPE` says what a recipe lacks. A run stays with the commit that it began with.\n");
}

static void topic_files(sail_buf *out)
{
    sail__buf_str(out, "A run lives in RUNS/NAME (keys `runs` and `name` of its recipe):\n"
                       "  recipe.resolved.yaml   the recipe with every value, as it was run\n"
                       "  run.db                 SQLite: metrics, samples with tokens and labels, verdicts, events\n"
                       "  checkpoints/           step-000200/ …, each whole or not there; COMPLETE holds the hashes\n"
                       "  events.out.tfevents.*  the same metrics for TensorBoard\n"
                       "  report.html, log.txt\n");
}

static const struct topic {
    const char *name;
    void (*write)(sail_buf *out);
} topics[] = {
    {"recipe", topic_recipe},
    {"lua", sail__lua_help},
    {"files", topic_files},
    {"exit", topic_exit},
    {"environment", topic_environment},
    {"hub", topic_hub},
};
enum { TOPICS = sizeof topics / sizeof topics[0] };

const char *const *sail__help_topics(void)
{
    static const char *const names[] = {"recipe", "lua", "files", "exit", "environment", "hub", NULL};
    _Static_assert(sizeof names / sizeof names[0] == TOPICS + 1, "one name a topic");
    return names;
}

sail_code sail__help_topic(sail_buf *out, const sail__cli *c, const char *name, sail_err *err)
{
    (void)c;
    for (size_t i = 0; i < TOPICS; i++)
        if (!strcmp(topics[i].name, name)) {
            topics[i].write(out);
            return SAIL_OK;
        }
    const char *names[160];
    size_t n, k = 0;
    const sail__command *const *all = sail__commands(&n);
    for (size_t i = 0; i < n && k < 128; i++)
        names[k++] = all[i]->name;
    for (size_t i = 0; i < TOPICS; i++)
        names[k++] = topics[i].name;
    const char *near = sail__nearest(name, names, k);
    return near ? sail_fail(err, SAIL_E_USAGE, "there is no command or topic `%s`; did you mean `%s`?", name, near)
                : sail_fail(err, SAIL_E_USAGE, "there is no command or topic `%s`; `sail help` lists them", name);
}
