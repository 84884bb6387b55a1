/* report_impl.h - what the writers of a report share: runs as they were read. */
#ifndef SAIL_REPORT_IMPL_H
#define SAIL_REPORT_IMPL_H

#include "report.h"

typedef struct report_series { /* one metric of one stage: rows in order of steps */
    const char *stage, *name;
    const sail__metric_row *rows;
    size_t n;
} report_series;

typedef struct report_run {
    const char *path, *name, *recipe; /* recipe: resolved YAML text, "" where the run has none */
    const char **keys, **values;      /* facts */
    size_t n_facts;
    sail__metric_row *metrics;
    size_t n_metrics;
    report_series *series;
    size_t n_series;
    sail__sample *samples; /* kept ones: evaluated and generated, else the last of training */
    size_t n_samples;
    sail__event_row *events;
    size_t n_events;
} report_run;

typedef struct report_data {
    sail_arena *arena;
    report_run *runs;
    size_t n;
    const sail__report_options *options;
} report_data;

/* A stage that compared models: METHOD 7's win rates over prompts and seeds. */
typedef struct report_contender {
    const char *name;
    const char **stages; /* that trained it, one a seed */
    size_t n;
    bool baseline;
} report_contender;
typedef struct report_comparison {
    const char *stage;
    report_contender *c;
    size_t n;
    double prompts; /* NAN: not told */
    bool alone;     /* the run's only one */
    bool again;     /* of models that an earlier one compared: how they were trained is told there */
} report_comparison;
/* All of a run, in the order of its stages; false: out of memory. */
bool sail__report_comparisons(const report_data *d, const report_run *r, report_comparison **out, size_t *n);
/* Is this stage one of a comparison's seeds, or the comparison itself? Then it is told there, and by itself only on demand. */
bool sail__report_compared(const report_comparison *c, size_t n, const char *stage);
/* The mean over a contender's seeds, step by step; NULL where none of them has the metric. */
const report_series *sail__report_mean(const report_data *d, const report_run *r, const report_contender *c, const char *name);
/* What of the methods is drawn first; ends with NULL. */
extern const char *const sail__report_principal[];
/* The last value of a metric; NAN: none. */
double sail__report_value(const report_run *r, const char *stage, const char *name);
void sail__report_win_rates_html(const report_data *d, const report_run *r, const report_comparison *c, sail_buf *out);
void sail__report_win_rates_text(const report_data *d, const report_run *r, const report_comparison *c, sail_buf *out);

void sail__report_win_rates_markdown(const report_data *d, const report_run *r, const report_comparison *c, sail_buf *out);

/* What the recipe's own tables say (tables.h). */
void sail__report_tables_html(const report_data *d, sail_buf *out);
void sail__report_tables_charts(const report_data *d, sail_buf *out); /* appended as the first of the page's charts */
void sail__report_tables_text(const report_data *d, size_t run, sail_buf *out);

/* The recipes as they were run, and of several what is different. */
sail_code sail__report_recipes_html(const report_data *d, bool folded, sail_buf *out, sail_err *err);

void sail__report_escape(sail_buf *out, const char *text); /* for HTML */
void sail__report_escape_part(sail_buf *out, const char *text, size_t n);
void sail__report_script_text(sail_buf *out, const char *text); /* a JSON string inside a script element */

bool sail__report_is_eval(const char *name); /* eval_… */
/* Where a metric stands: 0 evaluation, 1 training, 2 sail/…, 3 time and memory. */
int sail__report_section(const char *name);
const char *sail__report_fact(const report_run *r, const char *key); /* NULL: none */
/* Two runs may have one name: then the names are paths. */
void sail__report_number(sail_buf *out, double v); /* four digits, "nan", "inf" */

sail_code sail__report_json(const report_data *d, sail_buf *out, sail_err *err);
sail_code sail__report_csv(const report_data *d, sail_buf *out, sail_err *err);
sail_code sail__report_text(const report_data *d, sail_buf *out, sail_err *err);
sail_code sail__report_markdown(const report_data *d, sail_buf *out, sail_err *err);
sail_code sail__report_html(const report_data *d, sail_buf *out, sail_err *err);

extern const char sail__report_css[], sail__report_js[];

#endif
