/* missing.c - files that a recipe reads and that are not there; its tables know only that they are paths. */
#include <string.h>
#include <unistd.h>

#include "../io/data.h"
#include "../io/hub.h"
#include "recipe_internal.h"
#include "run.h"

typedef struct search {
    sail_problems *problems;
    const char *stage, *run; /* run: its directory, where earlier stages write; NULL: not known */
} search;

/* Once each: many stages may read one file. */
static void tell(const search *s, const sail_node *at, const char *key, const char *message)
{
    if (message && !sail__problems_told(s->problems, message))
        sail__problem(s->problems, at, sail__arena_printf(s->problems->arena, "%s.%s", s->stage, key), "%s", message);
}

static bool written_by_the_run(const search *s, const char *path)
{
    const size_t n = s->run ? strlen(s->run) : 0;
    return n && strncmp(path, s->run, n) == 0 && path[n] == '/';
}

static void need_file(const search *s, const sail_node *at, const char *key, const char *path)
{
    if (*path != '@' && !sail__hub_is_name(path) && !sail__file_exists(path) && !sail__is_dir(path) && !written_by_the_run(s, path))
        tell(s, at, key, sail__arena_printf(s->problems->arena, "there is no file or directory %s", path));
}

/* A file or directory, or several by name, each with one or a list of them. */
static void need_paths(const search *s, const char *key, const sail_node *n)
{
    if (n->kind == SAIL_NODE_STRING)
        need_file(s, n, key, n->string.data);
    for (size_t i = 0; (n->kind == SAIL_NODE_LIST || n->kind == SAIL_NODE_MAP) && i < n->list.n; i++)
        need_paths(s, key, n->list.items[i]);
}

/* Files of rows: one or a list of them, each a path, a pattern or {path, weight}. */
static void need_rows(const search *s, const char *key, const sail_node *files)
{
    sail_arena *a = s->problems->arena;
    const bool list = files->kind == SAIL_NODE_LIST;
    for (size_t i = 0; i < (list ? files->list.n : 1); i++) {
        const sail_node *one = list ? files->list.items[i] : files;
        const char *path = one->kind == SAIL_NODE_STRING ? one->string.data : NULL;
        sail__data_options found;
        sail_err err = {0};
        if (path && sail__is_dir(path))
            tell(s, one, key, sail__arena_printf(a, "%s is a directory; name a file of rows, or a pattern such as %s/*.jsonl", path, path));
        else if (path && (sail__hub_is_name(path) || !strpbrk(path, "*?[")))
            need_file(s, one, key, path);
        else if (sail__data_files(a, one, key, &found, &err) != SAIL_OK)
            sail__problem_of(s->problems, one, sail__arena_printf(a, "%s.%s", s->stage, key), &err);
        else
            for (size_t k = 0; k < found.n_paths; k++)
                need_file(s, one, key, found.paths[k]);
    }
}

static bool need(void *user, const sail_opt *row, const char *key, sail_node *n)
{
    const bool rows = row->type == SAIL_OPT_TYPE_NODE && strcmp(key, "eval.models") != 0;
    if (n->kind != SAIL_NODE_NULL)
        (rows ? need_rows : need_paths)(user, key, n);
    return true;
}

void sail__recipe_missing(const sail__recipe *r, sail_problems *p)
{
    char here[4096];
    const char *dir = sail__run_dir(r), *run = dir && getcwd(here, sizeof here) ? sail__path_join(p->arena, here, dir) : NULL;
    for (size_t i = 0; i < r->n_stages; i++) {
        search s = {p, r->stages[i].name, run};
        sail__recipe_each_path(r->ctx, p->arena, r->stages[i].node, need, &s); /* false: p's arena remembers */
    }
}
