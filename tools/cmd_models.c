/* cmd_models.c - sail models: what the Hugging Face cache holds, and what is missing of it. */
#include <string.h>

#include "cli.h"
#include "io/hub_list.h"

/* "135M", "1.2B"; "" for none. */
static const char *count_text(int64_t n, char out[16])
{
    static const char units[] = "\0kMBT";
    double x = (double)n;
    int unit = 0;
    for (; x >= 999.5 && units[unit + 1]; unit++)
        x /= 1000;
    snprintf(out, 16, unit && x < 9.95 ? "%.1f%c" : "%.0f%c", x, units[unit]);
    if (n == 0)
        *out = '\0';
    return out;
}

static const char *revision_of(sail__cli *c, const sail__hub_entry *e)
{
    if (*e->revisions || !e->commit)
        return e->revisions;
    const char *some = sail__arena_printf(c->arena, "%.12s", e->commit);
    return some ? some : e->commit;
}

static sail_code show_json(sail__cli *c, const sail__hub_entry *all, size_t n, sail_err *err)
{
    sail_node *out = sail__cli_list(c);
    for (size_t i = 0; i < n && out; i++) {
        const sail__hub_entry *e = &all[i];
        sail_node *row = sail__cli_map(c);
        sail__cli_put_string(c, row, "name", e->name);
        sail__cli_put_string(c, row, "commit", e->commit);
        sail__cli_put_string(c, row, "revisions", e->revisions);
        sail__cli_put_string(c, row, "path", e->path);
        sail__cli_put_int(c, row, "bytes", (int64_t)e->bytes);
        sail__cli_put_int(c, row, "unfinished_bytes", (int64_t)e->unfinished);
        sail__cli_put_string(c, row, "family", e->family);
        if (e->parameters)
            sail__cli_put_int(c, row, "parameters", e->parameters);
        sail__cli_put_string(c, row, "type", e->type);
        sail__cli_put_string(c, row, "problem", e->problem);
        if (!row || !sail__node_append(c->arena, out, row))
            out = NULL;
    }
    return out ? sail__cli_print_json(c, out, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static void show(sail__cli *c, const sail__hub_entry *all, size_t n)
{
    const char *dim = sail__tone_code(c, SAIL__DIM), *off = sail__tone_code(c, SAIL__PLAIN);
    int wide = 4, revision = 8, family = 6;
    for (size_t i = 0; i < n; i++) {
        int length = (int)strlen(all[i].name), named = (int)strlen(revision_of(c, &all[i])),
            kind = all[i].family ? (int)strlen(all[i].family) : 0;
        wide = length > wide ? length : wide;
        revision = named > revision ? named : revision;
        family = kind > family ? kind : family;
    }
    sail__cli_line(c, "%s%-*s  %-*s  %9s  %-*s  %10s  TYPE%s", dim, wide, "NAME", revision, "REVISION", "SIZE", family,
                   "FAMILY", "PARAMETERS", off);
    for (size_t i = 0; i < n; i++) {
        const sail__hub_entry *e = &all[i];
        char size[16], count[16], part[16];
        sail__cli_line(c, "%s%-*s%s  %-*s  %9s  %-*s  %10s  %s",
                       sail__tone_code(c, e->problem ? SAIL__YELLOW : SAIL__CYAN), wide, e->name, off, revision,
                       revision_of(c, e), sail__size_text(e->bytes, size), family, e->family ? e->family : "",
                       count_text(e->parameters, count), e->type ? e->type : "");
        if (e->problem)
            sail__cli_line(c, "    %s", e->problem);
        if (e->unfinished)
            sail__cli_line(c, "    %s of files that are not whole", sail__size_text(e->unfinished, part));
    }
}

static sail_code run(sail__cli *c, sail_err *err)
{
    sail__hub_entry *all;
    size_t n;
    const char *root;
    SAIL_TRY(sail__hub_root(c->arena, &root, err));
    SAIL_TRY(sail__hub_list(c->arena, &all, &n, err));
    if (c->json)
        return show_json(c, all, n, err);
    if (n == 0)
        sail__cli_line(c, "nothing in %s; `sail pull OWNER/NAME` fetches a model", root);
    else
        show(c, all, n);
    return SAIL_OK;
}

static const sail__example examples[] = {
    {"sail models", "each model, adapter, GGUF file and data set of the cache: --model hf:NAME uses it"},
    {0},
};
const sail__command sail__cmd_models = {
    .name = "models",
    .args = "",
    .summary = "what the Hugging Face cache holds, and what is missing of it",
    .doc = "Each model is opened as it is for use, without its weights being read: what is told of one is why it could "
           "not be used.",
    .flags = SAIL__CLI_JSON,
    .examples = examples,
    .run = run,
};
