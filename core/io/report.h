/* report.h - what one or several runs measured, as JSON, CSV, a web page, text or Markdown.
 *
 * Floor: io. Reads run directories (run.db, recipe.resolved.yaml), changes nothing, and may run beside a run that goes on. */
#ifndef SAIL_REPORT_H
#define SAIL_REPORT_H

#include "store.h"

typedef enum sail__report_format {
    SAIL__REPORT_JSON, /* {"runs": [{"name", "info", "metrics": {STAGE: {NAME: [[step, value], …]}}, "samples", "events"}]} */
    SAIL__REPORT_CSV,  /* run,stage,step,name,value: every metric of every step */
    SAIL__REPORT_HTML, /* one self-contained page: curves, tables, samples, recipes; light and dark */
    SAIL__REPORT_TEXT, /* curves and tables for a terminal */
    SAIL__REPORT_MARKDOWN, /* the recipe's own tables, and win rates, to be kept */
} sail__report_format;

typedef struct sail__report_options {
    sail__report_format format;
    bool color;      /* TEXT: with terminal colours */
    int width;       /* TEXT: columns; 0: 100 */
    size_t samples;  /* prompts shown with their responses; 0: 12 */
    const char *title; /* HTML; NULL: from the runs */
} sail__report_options;

/* Append the report of `runs` (directories) to *out. */
sail_code sail__report(const char *const *runs, size_t n, const sail__report_options *o, sail_buf *out, sail_err *err);

#endif
