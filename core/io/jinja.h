/* jinja.h - Jinja, the language of chat templates: text parsed once, rendered with variables.
 *
 * What real templates use, as jinja2 with trim_blocks, lstrip_blocks, loop controls and the immutable sandbox gives it, letter
 * by letter; `{% generation %}` and the globals raise_exception and strftime_now as transformers adds them. A template is foreign
 * code: it reads its variables, writes text, and is stopped when it takes too many steps, too much memory or nests too
 * deeply.
 *
 * Floor: io. Threads: a parsed template is constant. Ownership: the caller frees template and result. */
#ifndef SAIL_JINJA_H
#define SAIL_JINJA_H

#include "../base/node.h"
#include "tokenizer.h"

typedef struct sail__jinja sail__jinja;

/* What kind of fault a message tells, for those who tell them apart. */
typedef enum sail__jinja_kind {
    SAIL__JINJA_NONE,
    SAIL__JINJA_SYNTAX,
    SAIL__JINJA_UNDEFINED, /* a value that is not there was used */
    SAIL__JINJA_SECURITY,  /* an attribute that a template may not touch */
    SAIL__JINJA_RAISED,    /* raise_exception: the template refuses the conversation */
    SAIL__JINJA_RUNTIME,
    SAIL__JINJA_LIMIT,
} sail__jinja_kind;
typedef struct sail__jinja_fault {
    sail__jinja_kind kind;
    int line; /* from 1 */
    char message[512];
} sail__jinja_fault;

typedef struct sail__spans { /* ascending, apart; zero it first, free items */
    sail__span *items;
    size_t n, cap;
} sail__spans;
sail_code sail__spans_add(sail__spans *s, size_t begin, size_t end, sail_err *err); /* joins what touches */

/* `origin` names the text in messages ("ORIGIN:LINE: what"). fault may be NULL. */
sail_code sail__jinja_parse(const char *text, size_t len, const char *origin, sail__jinja **out, sail__jinja_fault *fault,
                            sail_err *err);
void sail__jinja_free(sail__jinja *t);

typedef struct sail__jinja_options {
    const sail_node *variables; /* a map */
    const char *const *foreign; /* variables whose strings somebody else wrote, all but plain words under the key "role" */
    int64_t now;                /* seconds since the epoch, shown in UTC by strftime_now; < 0: the clock, in local time */
    int64_t steps;              /* limits; 0: those of sail__jinja_render */
    size_t memory, output;
    int depth;
} sail__jinja_options;
typedef struct sail__jinja_result {
    sail_buf text;
    sail__spans foreign;    /* what of the text comes from foreign strings */
    sail__spans generation; /* of {% generation %} blocks; they may be empty */
} sail__jinja_result;
/* At most 20 million steps, 128 MiB of values, 32 MiB of text, 1000 levels. */
sail_code sail__jinja_render(const sail__jinja *t, const sail__jinja_options *o, sail__jinja_result *out,
                             sail__jinja_fault *fault, sail_err *err);
void sail__jinja_result_free(sail__jinja_result *r);

#endif
