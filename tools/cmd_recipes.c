/* cmd_recipes.c - sail recipes: the recipes that come with sail. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

enum { RECIPE_MOST = 1 << 22 };

struct recipes {
    bool force;
};
#define T struct recipes
static const sail_opt options[] = {
    SAIL_OPT_BOOL(T, force, .help = "cp: overwrite"),
    {0},
};
#undef T

typedef struct names {
    char **items;
    size_t n, cap;
} names;

static bool is_recipe(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".lua"));
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
    for (size_t i = 0; i < all->n; i++)
        sail__cli_line(c, "%s%-28s%s %s", sail__tone_code(c, SAIL__CYAN), all->items[i], sail__tone_code(c, SAIL__PLAIN),
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

static const char *const subcommands[] = {"ls", "cp", "cat", NULL};
static const sail__example examples[] = {
    {"sail recipes ls", "what there is"},
    {"sail recipes cp dpo mine.yaml", "a copy to change"},
    {"sail recipes cat sail-dpp.yaml", "to look at"},
    {0},
};
const sail__command sail__cmd_recipes = {
    .name = "recipes", .args = "[ls | cat NAME | cp NAME [TO]]", .summary = "list, show or copy the recipes that come with sail",
    .max_args = 3, .flags = SAIL__CLI_JSON | SAIL__CLI_SUB, .subcommands = subcommands, .options = options,
    .options_size = sizeof(struct recipes), .examples = examples, .run = run,
};
