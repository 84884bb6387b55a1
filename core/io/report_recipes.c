/* report_recipes.c - the recipes of runs on the page, and what is different between them.
 *
 * A resolved recipe is YAML of one form, as recipe/print.c writes it: two spaces a level, a value on its key's line, its origin behind
 * "  # ". That much is read here, and what is not of that form is left out of the comparison. */
#include "report_impl.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 32, DIFFERENT_MOST = 400 };

typedef struct entry {
    const char *path, *value;
} entry;
typedef struct entries {
    entry *items; /* in the order of the recipe */
    size_t n, cap;
    const entry **by_path;
} entries;

typedef struct level {
    size_t indent, count; /* count: of list items seen */
    const char *name;
} level;

static const char *join(sail_arena *a, const level *stack, size_t n, const char *key)
{
    sail_buf b = {0};
    for (size_t i = 0; i < n; i++)
        sail__buf_printf(&b, "%s%s", i && *stack[i].name != '[' ? "." : "", stack[i].name);
    sail__buf_printf(&b, "%s%s", n && *key ? "." : "", key);
    const char *path = b.oom || !b.data ? NULL : sail__arena_strdup(a, b.data);
    sail__buf_free(&b);
    return path;
}

static bool add(sail_arena *a, entries *e, const level *stack, size_t n, const char *key, const char *value, sail_err *err)
{
    const char *path = join(a, stack, n, key);
    if (!path || sail__grow(&e->items, &e->cap, e->n + 1, sizeof *e->items, err) != SAIL_OK)
        return false;
    e->items[e->n++] = (entry){path, value};
    return true;
}

/* The line without its origin and the spaces around it. */
static char *content(sail_arena *a, const char *line, size_t n, size_t *indent)
{
    char *s = sail__arena_strndup(a, line, n);
    for (*indent = 0; s && s[*indent] == ' ';)
        ++*indent;
    for (char *at = s, *found; at && (found = strstr(at, "  # "));) { /* the last one: a text may hold the mark */
        at = strstr(found + 4, "  # ");
        if (!at)
            *found = '\0';
    }
    return s ? s + *indent : NULL;
}

/* Key, or item of a list: [3], or by its name: [dpo-1]. */
static bool read_line(sail_arena *a, entries *e, level *stack, size_t *n, char *s, size_t indent, sail_err *err)
{
    while (*n && stack[*n - 1].indent >= indent && !(s[0] == '-' && s[1] == ' ' && stack[*n - 1].indent == indent && stack[*n - 1].count))
        --*n;
    if (s[0] == '-' && s[1] == ' ') {
        size_t count = *n && stack[*n - 1].indent == indent ? stack[*n - 1].count : 0;
        if (*n && stack[*n - 1].indent == indent)
            --*n;
        s += 2;
        const char *name = !strncmp(s, "name: ", 6) ? sail__arena_printf(a, "[%s]", s + 6) : sail__arena_printf(a, "[%zu]", count);
        if (!name || *n == DEPTH_MOST)
            return name != NULL;
        stack[(*n)++] = (level){indent, count + 1, name};
        indent += 2;
    }
    char *colon = strstr(s, ": ");
    size_t length = strlen(s);
    if (colon) {
        *colon = '\0';
        return add(a, e, stack, *n, s, colon + 2, err);
    }
    if (!length || s[length - 1] != ':')
        return !length || add(a, e, stack, *n, "", s, err);
    s[length - 1] = '\0';
    if (*n < DEPTH_MOST)
        stack[(*n)++] = (level){indent, 0, s};
    return true;
}

static bool flatten(sail_arena *a, const char *text, entries *e, sail_err *err)
{
    level stack[DEPTH_MOST];
    size_t n = 0, indent;
    while (*text) {
        size_t length = strcspn(text, "\n");
        char *s = content(a, text, length, &indent);
        if (!s || !read_line(a, e, stack, &n, s, indent, err))
            return false;
        text += length + (text[length] != '\0');
    }
    return true;
}

static int compare_paths(const void *a, const void *b) { return strcmp((*(const entry *const *)a)->path, (*(const entry *const *)b)->path); }

/* A recipe of a hundred stages has ten thousand keys. */
static bool sort_paths(sail_arena *a, entries *e)
{
    e->by_path = sail__arena_array(a, e->n + 1, sizeof *e->by_path);
    for (size_t i = 0; e->by_path && i < e->n; i++)
        e->by_path[i] = &e->items[i];
    if (e->by_path)
        qsort(e->by_path, e->n, sizeof *e->by_path, compare_paths);
    return e->by_path != NULL;
}

static const char *value_of(const entries *e, const char *path)
{
    const entry wanted = {path, NULL}, *key = &wanted;
    const entry **found = bsearch(&key, e->by_path, e->n, sizeof *e->by_path, compare_paths);
    return found ? (*found)->value : NULL;
}

/* Where runs are kept and what they are called is different always. */
static bool of_interest(const char *path)
{
    return strcmp(path, "name") != 0 && strcmp(path, "title") != 0 && strcmp(path, "runs") != 0;
}

static bool different(const entries *all, size_t n, const char *path)
{
    const char *first = value_of(&all[0], path);
    for (size_t r = 1; r < n; r++) {
        const char *other = value_of(&all[r], path);
        if (!first != !other || (first && strcmp(first, other) != 0))
            return true;
    }
    return false;
}

static void difference_row(const report_data *d, const entries *all, const char *path, sail_buf *out)
{
    sail__buf_str(out, "<tr><th class='mono'>");
    sail__report_escape(out, path);
    sail__buf_str(out, "</th>");
    for (size_t r = 0; r < d->n; r++) {
        const char *value = value_of(&all[r], path);
        sail__buf_str(out, value ? "<td class='mono'>" : "<td class='soft'>\xe2\x80\x93");
        sail__report_escape(out, value ? value : "");
        sail__buf_str(out, "</td>");
    }
    sail__buf_str(out, "</tr>\n");
}

static void differences(const report_data *d, const entries *all, sail_buf *out)
{
    size_t rows = 0;
    for (size_t r = 0; r < d->n; r++)
        for (size_t i = 0; i < all[r].n && rows < DIFFERENT_MOST; i++) {
            const char *path = all[r].items[i].path;
            bool before = false;
            for (size_t q = 0; q < r; q++)
                before = before || value_of(&all[q], path);
            if (before || !of_interest(path) || !different(all, d->n, path))
                continue;
            if (!rows++) {
                sail__buf_str(out, "<section><h2>What is different in the recipes</h2><div class='card wide'><table><thead><tr><th>key</th>");
                for (size_t q = 0; q < d->n; q++) {
                    sail__buf_printf(out, "<th><span class='dot' style='background:var(--s%zu)'></span> ", q % 8);
                    sail__report_escape(out, d->runs[q].name);
                    sail__buf_str(out, "</th>");
                }
                sail__buf_str(out, "</tr></thead><tbody>\n");
            }
            difference_row(d, all, path, out);
        }
    if (rows)
        sail__buf_str(out, "</tbody></table></div></section>\n");
}

static void texts(const report_data *d, bool folded, sail_buf *out)
{
    bool begun = false;
    for (size_t i = 0; i < d->n; i++) {
        if (!*d->runs[i].recipe)
            continue;
        sail__buf_printf(out, "%s<details class='card'%s><summary>", begun ? "" : "<section><h2>Recipes, as they were run</h2>\n",
                         d->n == 1 && !folded ? " open" : "");
        begun = true;
        sail__report_escape(out, d->runs[i].name);
        sail__buf_str(out, "</summary><pre>");
        sail__report_escape(out, d->runs[i].recipe);
        sail__buf_str(out, "</pre></details>\n");
    }
    if (begun)
        sail__buf_str(out, "</section>\n");
}

sail_code sail__report_recipes_html(const report_data *d, bool folded, sail_buf *out, sail_err *err)
{
    entries *all = sail__arena_array(d->arena, d->n + 1, sizeof *all);
    bool ok = all != NULL;
    for (size_t r = 0; ok && d->n > 1 && r < d->n; r++)
        ok = flatten(d->arena, d->runs[r].recipe, &all[r], err) && sort_paths(d->arena, &all[r]);
    if (ok && d->n > 1)
        differences(d, all, out);
    for (size_t r = 0; all && r < d->n; r++)
        sail__free(all[r].items);
    if (!ok)
        return sail_fail(err, SAIL_E_NOMEM, "report: out of memory");
    texts(d, folded, out);
    return SAIL_OK;
}
