/* cmd_recipes.c - sail recipes: the recipes that come with sail, and those made of other programs' configurations. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_model.h"
#include "import.h"

enum { RECIPE_MOST = 1 << 22 };

struct recipes {
    bool force;
    const char *trainer;
};
#define T struct recipes
static const sail_opt options[] = {
    SAIL_OPT_BOOL(T, force, .help = "cp, import: overwrite"),
    SAIL_OPT_STR(T, trainer, .unit = "NAME", .help = "import: what a TRL configuration is for: dpo, kto, cpo, orpo, sft or reward; unset: guessed from its keys"),
    {0},
};
#undef T

typedef struct names {
    char **items;
    size_t n, cap;
} names;

/* _NAME is a part that recipes beside it share. */
static bool is_recipe(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && *sail__path_base(name) != '_' && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".lua"));
}

static sail_code gather(sail__cli *c, const char *root, const char *sub, int depth, names *out, sail_err *err)
{
    char **entries = NULL;
    size_t n = 0;
    SAIL_TRY(sail__list_dir(c->arena, *sub ? sail__path_join(c->arena, root, sub) : root, &entries, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *name = *sub ? sail__arena_printf(c->arena, "%s/%s", sub, entries[i]) : entries[i];
        if (!name)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (depth < 4 && sail__is_dir(sail__path_join(c->arena, root, name))) {
            SAIL_TRY(gather(c, root, name, depth + 1, out, err));
        } else if (is_recipe(name)) {
            SAIL_TRY(sail__grow(&out->items, &out->cap, out->n + 1, sizeof *out->items, err));
            out->items[out->n++] = name;
        }
    }
    return SAIL_OK;
}

/* What the file says about itself: its `title`, else its first comment line. */
static const char *title(sail__cli *c, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    sail_err ignored;
    const char *found = "";
    if (sail__file_read(path, RECIPE_MOST, &text, &size, &ignored) != SAIL_OK)
        return "";
    const char *at = strstr(text, "\ntitle:");
    at = at ? at + 7 : !strncmp(text, "title:", 6) ? text + 6 : NULL;
    if (!at && (text[0] == '#' || !strncmp(text, "--", 2)))
        at = text + strspn(text, "#-");
    if (at) {
        at += strspn(at, " \"'");
        size_t n = strcspn(at, "\n");
        while (n && strchr(" \"'\r", at[n - 1]))
            n--;
        found = sail__arena_strndup(c->arena, at, n);
    }
    sail__free(text);
    return found ? found : "";
}

static sail_code ls(sail__cli *c, const char *root, const names *all, sail_err *err)
{
    if (c->json) {
        sail_node *list = sail__cli_list(c);
        for (size_t i = 0; list && i < all->n; i++) {
            sail_node *row = sail__cli_map(c);
            const char *path = sail__path_join(c->arena, root, all->items[i]);
            sail__cli_put_string(c, row, "name", all->items[i]);
            sail__cli_put_string(c, row, "title", title(c, path));
            sail__cli_put_string(c, row, "path", path);
            if (row)
                sail__node_append(c->arena, list, row);
        }
        return sail__cli_print_json(c, list, err);
    }
    int width = 0;
    for (size_t i = 0; i < all->n; i++)
        width = (int)strlen(all->items[i]) > width ? (int)strlen(all->items[i]) : width;
    for (size_t i = 0; i < all->n; i++)
        sail__cli_line(c, "%s%-*s%s %s", sail__tone_code(c, SAIL__CYAN), width, all->items[i], sail__tone_code(c, SAIL__PLAIN),
                       title(c, sail__path_join(c->arena, root, all->items[i])));
    return SAIL_OK;
}

/* A name with or without directory and ending. */
static sail_code find(sail__cli *c, const char *root, const names *all, const char *wanted, const char **path, sail_err *err)
{
    for (size_t i = 0; i < all->n; i++) {
        const char *base = sail__path_base(all->items[i]), *dot = strrchr(base, '.');
        bool stem = strlen(wanted) == (size_t)(dot - base) && !strncmp(wanted, base, (size_t)(dot - base));
        if (!strcmp(wanted, all->items[i]) || !strcmp(wanted, base) || stem) {
            *path = sail__path_join(c->arena, root, all->items[i]);
            return *path ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
        }
    }
    const char *near = sail__nearest(wanted, (const char *const *)all->items, all->n);
    return near ? sail_fail(err, SAIL_E_NOTFOUND, "there is no recipe `%s`; did you mean `%s`?", wanted, near)
                : sail_fail(err, SAIL_E_NOTFOUND, "there is no recipe `%s`; `sail recipes ls` lists them", wanted);
}

static sail_code copy(sail__cli *c, const char *from, const char *to, sail_err *err)
{
    const struct recipes *o = c->options;
    char *text = NULL;
    size_t size = 0;
    if (sail__is_dir(to))
        to = sail__path_join(c->arena, to, sail__path_base(from));
    if (!to)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (sail__file_exists(to) && !o->force)
        return sail_fail(err, SAIL_E_EXISTS, "%s: exists already; --force overwrites it", to);
    SAIL_TRY(sail__file_read(from, RECIPE_MOST, &text, &size, err));
    sail_code code = sail__file_write(to, text, size, err);
    sail__free(text);
    if (code == SAIL_OK)
        sail__cli_line(c, "%s", to);
    return code;
}

/* ---- import ---- */

static sail_code told(sail__cli *c, const sail__import *x, const sail_err *first, sail_err *err)
{
    if (x->problems.n < 2 || sail__problems_oom(&x->problems)) {
        *err = *first;
        return err->code;
    }
    sail__cli_problems(c, SAIL_LOG_ERROR, &x->problems, 0);
    return sail_fail(err, first->code, "%s: %zu values are wrong", x->path, x->problems.n);
}

static sail_code import_json(sail__cli *c, const sail__import *x, sail_err *err)
{
    sail_node *out = sail__cli_map(c), *notes = sail__cli_list(c);
    for (size_t i = 0; notes && i < x->n_notes; i++) {
        sail_node *note = sail__cli_map(c);
        sail__cli_put_string(c, note, "keys", x->notes[i].keys);
        sail__cli_put_int(c, note, "line", x->notes[i].line);
        sail__cli_put_string(c, note, "text", x->notes[i].text);
        if (note)
            sail__node_append(c->arena, notes, note);
    }
    sail__cli_put_string(c, out, "from", x->from == SAIL__FROM_TRL ? "trl" : "llamafactory");
    sail__cli_put_string(c, out, "trainer", sail__import_stage_names[x->stage]);
    sail__cli_put(c, out, "recipe", x->recipe);
    sail__cli_put(c, out, "notes", notes);
    return sail__cli_print_json(c, out, err);
}

static sail_code import(sail__cli *c, const char *from, const char *to, sail_err *err)
{
    const struct recipes *o = c->options;
    sail__import x = {.c = c};
    sail_buf b = {0};
    sail_err first = {0};
    if (to && sail__file_exists(to) && !o->force)
        return sail_fail(err, SAIL_E_EXISTS, "%s: exists already; --force overwrites it", to);
    SAIL_TRY(sail__cli_not_over(from, to, err));
    if (sail__import_read(&x, from, o->trainer, &first) != SAIL_OK)
        return told(c, &x, &first, err);
    for (size_t i = 0; !c->json && i < x.n_notes; i++) {
        const char *line = x.notes[i].line ? sail__arena_printf(c->arena, ":%d", x.notes[i].line) : "";
        sail_log(c->ctx, x.notes[i].doubt ? SAIL_LOG_WARN : SAIL_LOG_INFO, "%s%s: %s%s%s", from, line ? line : "", x.notes[i].keys, *x.notes[i].keys ? ": " : "", x.notes[i].text);
    }
    sail__import_write(&x, &b);
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
    if (code == SAIL_OK && (to || !c->json))
        code = sail__cli_output(c, to, b.data, b.len, err);
    sail__buf_free(&b);
    return code == SAIL_OK && c->json ? import_json(c, &x, err) : code;
}

static sail_code act(sail__cli *c, const char *root, const names *all, sail_err *err)
{
    const char *what = c->n_args ? c->args[0] : "ls", *path = NULL;
    if (!strcmp(what, "ls"))
        return c->n_args > 1 ? sail_fail(err, SAIL_E_USAGE, "usage: sail recipes ls") : ls(c, root, all, err);
    if (c->n_args < 2)
        return sail_fail(err, SAIL_E_USAGE, "which recipe? usage: sail recipes %s NAME%s", what, *what == 'c' && what[1] == 'p' ? " [TO]" : "");
    SAIL_TRY(find(c, root, all, c->args[1], &path, err));
    if (!strcmp(what, "cp"))
        return copy(c, path, c->n_args > 2 ? c->args[2] : ".", err);
    if (c->n_args > 2)
        return sail_fail(err, SAIL_E_USAGE, "usage: sail recipes cat NAME");
    char *text = NULL;
    size_t size = 0;
    SAIL_TRY(sail__file_read(path, RECIPE_MOST, &text, &size, err));
    sail_code code = sail__cli_output(c, NULL, text, size, err);
    sail__free(text);
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    names all = {0};
    if (c->n_args && strcmp(c->args[0], "import") == 0)
        return c->n_args > 1 ? import(c, c->args[1], c->n_args > 2 ? c->args[2] : NULL, err)
                             : sail_fail(err, SAIL_E_USAGE, "which file? usage: sail recipes import FILE [TO]");
    const char *root = sail__cli_recipes_dir(c);
    if (!root)
        return sail_fail(err, SAIL_E_NOTFOUND, "no directory of recipes beside the program (recipes/ in the source tree, or "
                                               "share/sail/recipes where it is installed)");
    sail_code code = gather(c, root, "", 0, &all, err);
    if (code == SAIL_OK)
        code = act(c, root, &all, err);
    sail__free(all.items);
    return code;
}

static const char *const subcommands[] = {"ls", "cp", "cat", "import", NULL};
static const sail__example examples[] = {
    {"sail recipes ls", "what there is"},
    {"sail recipes cp dpo mine.yaml", "a copy to change"},
    {"sail recipes cat sail-dpp.yaml", "to look at"},
    {"sail recipes import dpo_config.yaml mine.yaml", "from TRL or LLaMA-Factory; what has no counterpart is told, and stands in the recipe"},
    {0},
};
const sail__command sail__cmd_recipes = {
    .name = "recipes", .args = "[ls | cat NAME | cp NAME [TO] | import FILE [TO]]", .summary = "list, show or copy the recipes that come with sail; import others'",
    .doc = "import makes a recipe of a YAML or JSON configuration of TRL (what its scripts take with --config) or LLaMA-Factory. Each value keeps a "
           "comment with the line it comes from; keys that have no counterpart, and why, are told and stand at the top. A wrong value is an error.",
    .max_args = 3, .flags = SAIL__CLI_JSON | SAIL__CLI_SUB, .subcommands = subcommands, .options = options,
    .options_size = sizeof(struct recipes), .examples = examples, .run = run,
};
