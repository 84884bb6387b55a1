/* cmd_report.c - sail report: what runs measured. */
#include "cli_model.h"
#include "io/report.h"

struct report {
    int format;
    const char *output, *title;
    int64_t samples;
};
static const char *const formats[] = {"json", "csv", "html", "text", "markdown", NULL};
#define T struct report
static const sail_opt options[] = {
    SAIL_OPT_CHOICE(T, format, .def = SAIL__REPORT_TEXT, .choices = formats, .help = "json and csv hold every metric of every step"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "instead of standard output (html: RUN/report.html; of several runs report.html)"),
    SAIL_OPT_STR(T, title, .help = "of the web page"),
    SAIL_OPT_INT(T, samples, .def = 12, .min = 1, .max = 10000, .help = "prompts shown with their responses"),
    {0},
};
#undef T

/* A run's own files are not written over. */
static sail_code not_of_run(sail__cli *c, const char *output, sail_err *err)
{
    static const char *const files[] = {"run.db", "run.db-wal", "run.db-shm", "run.db.lock", "recipe.lua", "recipe.yaml", "recipe.resolved.yaml"};
    for (size_t i = 0; i < c->n_args; i++)
        for (size_t k = 0; k < sizeof files / sizeof *files; k++)
            SAIL_TRY(sail__cli_not_over(sail__path_join(c->arena, c->args[i], files[k]), output, err));
    return SAIL_OK;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct report *o = c->options;
    sail__report_options r = {.format = (sail__report_format)o->format, .color = c->color && !o->output, .width = c->width,
                              .samples = (size_t)o->samples, .title = o->title};
    if (c->json && o->format != SAIL__REPORT_TEXT && o->format != SAIL__REPORT_JSON)
        return sail_fail(err, SAIL_E_USAGE, "--json is --format json: leave one of --json and --format %s out", formats[o->format]);
    SAIL_TRY(not_of_run(c, o->output, err));
    if (c->json)
        r.format = SAIL__REPORT_JSON;
    const char *output = o->output;
    if (r.format == SAIL__REPORT_HTML && !output && c->n_args == 1)
        output = sail__path_join(c->arena, c->args[0], "report.html");
    else if (r.format == SAIL__REPORT_HTML && !output)
        output = "report.html";
    sail_buf b = {0};
    sail_code code = sail__report(c->args, c->n_args, &r, &b, err);
    if (code == SAIL_OK && b.oom)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = sail__cli_output(c, output, b.data, b.len, err);
    if (code == SAIL_OK && r.format == SAIL__REPORT_HTML && output && output[0] != '-' && !c->quiet)
        sail__cli_line(c, "%s", output);
    sail__buf_free(&b);
    return code;
}

static const sail__example examples[] = {
    {"sail report runs/dpp", "curves and a table in the terminal"},
    {"sail report runs/* --format html --output compare.html", "several runs on one page"},
    {"sail report runs/dpp --format csv --output metrics.csv", "every metric of every step"},
    {0},
};
const sail__command sail__cmd_report = {
    .name = "report", .args = "RUN…", .summary = "show what runs measured: terminal, web page, CSV, JSON, Markdown", .min_args = 1, .max_args = -1,
    .doc = "The web page is one file that needs nothing else: curves, values before and after, sample responses side by side, the resolved "
           "recipe, light and dark. A run that goes on may be looked at.",
    .flags = SAIL__CLI_JSON, .options = options, .options_size = sizeof(struct report), .examples = examples, .run = run,
};
