/* import.h - the configuration of another trainer as a recipe.
 *
 * Floor: tools. Read are YAML or JSON of TRL (the arguments of its scripts: TrainingArguments, the trainer's config, model and data) and of
 * LLaMA-Factory. import_table.c says key by key what becomes of it, import_parts.c puts together what several keys say; a default of the
 * other's that sail does not share is written out, too. A value keeps the line that it comes from, for messages and as a comment. */
#ifndef SAIL_CLI_IMPORT_H
#define SAIL_CLI_IMPORT_H

#include "cli.h"

enum { SAIL__FROM_TRL = 1u << 0, SAIL__FROM_FACTORY = 1u << 1, SAIL__FROM_BOTH = 3 };
typedef enum sail__import_stage {
    SAIL__IMPORT_DPO,
    SAIL__IMPORT_KTO,
    SAIL__IMPORT_CPO,
    SAIL__IMPORT_ORPO,
    SAIL__IMPORT_SFT,
    SAIL__IMPORT_REWARD,
    SAIL__IMPORT_STAGES
} sail__import_stage;

/* Something that has no counterpart, or another one than might be thought. */
typedef struct sail__import_note {
    const char *keys; /* "report_to, hub_model_id"; "": about the whole */
    int line;         /* of the first of them; 0: none */
    const char *text;
    bool doubt; /* not just told: it may be a mistake */
} sail__import_note;

typedef struct sail__import {
    sail__cli *c;
    const char *path;
    const sail_node *source;
    bool *asked; /* of each key of the source: its value was asked for */
    unsigned from;
    sail__import_stage stage;
    sail_node *recipe;
    sail__import_note *notes; /* in the arena */
    size_t n_notes, cap_notes;
    sail_problems problems; /* bad values */
} sail__import;

/* Reads `path`. stage: a word such as "kto" where the file does not say (TRL's do not); NULL: guessed, and told. The recipe is one that
 * passes but for files that are not there. SAIL_E_PARSE, SAIL_E_OPTION: the file, or values in it; the first is in err, all in problems. */
sail_code sail__import_read(sail__import *x, const char *path, const char *stage, sail_err *err);
/* The recipe as YAML, the notes as comments before it. */
void sail__import_write(sail__import *x, sail_buf *out);
extern const char *const sail__import_stage_names[]; /* NULL-terminated */

/* ---- between the files of the import ---- */

typedef enum sail__import_how {
    SAIL__IMPORT_COPY, /* the value, at `to` */
    SAIL__IMPORT_PART, /* import_parts.c asks for it, or it is told that nothing did */
    SAIL__IMPORT_NOTE, /* has no counterpart; `text` says why, and what to do */
} sail__import_how;

typedef struct sail__import_row {
    const char *key;
    unsigned from;
    sail__import_how how;
    const char *to;   /* COPY */
    const char *text; /* NOTE */
} sail__import_row;
extern const sail__import_row sail__import_rows[]; /* ends with a NULL key */

typedef struct sail__import_default {
    unsigned from, stages; /* a bit each */
    const char *to, *value;
} sail__import_default;
extern const sail__import_default sail__import_defaults[]; /* ends with a NULL `to` */

/* What several keys say together, after the rows. */
sail_code sail__import_parts(sail__import *x, sail_err *err);

/* The source's value, NULL where it is not there or null. A number in quotes is a number. */
const sail_node *sail__import_get(sail__import *x, const char *key);
/* false, null, "", none, no, 0 or an empty list. */
bool sail__import_off(const sail_node *n);
double sail__import_number(sail__import *x, const char *key, double without);
bool sail__import_flag(sail__import *x, const char *key, bool without);
const char *sail__import_text(sail__import *x, const char *key, const char *without);
/* Which of n names the value is; without: where there is none. -1: it is none of them, a problem. */
int sail__import_choice(sail__import *x, const char *key, const char *without, const char *const *names, int n);
/* A value at `to`; at: where it comes from (NULL: the other's default). */
void sail__import_put(sail__import *x, const char *to, const sail_node *value);
sail_node *sail__import_string(sail__import *x, const sail_node *at, const char *text); /* NULL: out of memory, or text is NULL */
void sail__import_put_text(sail__import *x, const sail_node *at, const char *to, const char *text);
void sail__import_put_number(sail__import *x, const sail_node *at, const char *to, double value);
void sail__import_say(sail__import *x, const char *key, const char *fmt, ...) SAIL_PRINTF(3, 4);
/* A value that is not among those there are: a problem, with the nearest. */
void sail__import_bad(sail__import *x, const char *key, const char *text, const char *const *names, size_t n);

#endif
