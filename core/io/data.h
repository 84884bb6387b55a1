/* data.h - rows of data files: read, counted, split, ordered, and turned into token ids.
 *
 * Floor: io. Threads: a source belongs to one thread; encoding may go on in several, each with its own scratch.
 * Ownership: a row lives in the arena it was read into. */
#ifndef SAIL_DATA_H
#define SAIL_DATA_H

#include "../backend/registry.h"
#include "../base/node.h"
#include "../sail/dataset.h"
#include "template.h"

/* One part of a row: exactly one of text, messages, ids is set (none: absent). */
typedef struct sail__part {
    const char *text; /* NUL-terminated; may hold NULs */
    size_t len;
    sail__message *messages;
    size_t n_messages, cap_messages; /* cap 0: the list is shared with another part */
    const int32_t *ids;
    size_t n_ids;
} sail__part;

/* A response of a ranking behind the first two. */
typedef struct sail__ranked {
    sail__part part;
    double score; /* NaN: none */
} sail__ranked;

struct sail_row {
    sail_arena *arena;
    sail__part part[SAIL_PART_COUNT];
    double score[2];      /* of chosen and rejected; NaN: none */
    sail__ranked *behind; /* of a ranking: what comes behind part[SAIL_PART_REJECTED], the best first */
    size_t n_behind;
    int label;            /* of a response labelled by itself: 1 desirable, -1 undesirable; 0: none */
    const char *subset;   /* part of a benchmark that the row belongs to; NULL: none */
    const char *dropped;  /* reason, while reading; NULL in rows that come out */
    uint64_t prompt_hash; /* of the prompt's content: splits, judge ids */
    uint64_t hash;        /* of the whole content */
    int64_t line;         /* in the file, from 1 */
    const char *file;     /* one of the options' paths */
    sail_row *next;       /* of the same record, while reading; NULL in rows that come out */
    sail_row *responses;  /* while reading: those of sail_row_response, each the chosen part of a row, with its worth as score[0] */
    bool scored;          /* while reading, of such a response: its worth is a score */
};
bool sail__part_present(const sail__part *p);
/* All parts of a row, in order: prompt, chosen, rejected, what is behind them. Some may be absent. */
size_t sail__row_parts(const sail_row *row);
const sail__part *sail__row_part(const sail_row *row, size_t i);
/* The last user message (of a transcript or text: all of it), and the conversation as a person would read it. */
const char *sail__row_last_user(const sail_row *row);
void sail__row_conversation(const sail_row *row, sail_buf *out);

/* ---- reading ---- */
enum sail__on_bad_row { SAIL__BAD_ROW_ERROR, SAIL__BAD_ROW_SKIP };
enum sail__split { SAIL__SPLIT_ALL, SAIL__SPLIT_TRAIN, SAIL__SPLIT_HELD_OUT };

/* What is made of a record that ranks several responses: pairs, each a row of its own, or one row with all of them. */
enum sail__data_pairing { SAIL__DATA_BEST_WORST, SAIL__DATA_NEIGHBOURS, SAIL__DATA_ALL, SAIL__DATA_RANKING };
extern const char *const sail__data_pairings[]; /* "best_worst", …; ends with NULL */
#define SAIL__DATA_PAIRING_HELP \
    "of records that rank several responses: pairs, each a row (the best against the worst, each against the next, or all), or one ranking"
enum { SAIL__MOST_RANKED = 8 }; /* responses of a ranking */
/* Pairs or a ranking of row->responses; what is more than one row hangs on row->next. */
sail_code sail__row_pair(sail_row *row, int pairing, sail_err *err);

typedef struct sail__data_options {
    const char *const *paths;
    size_t n_paths;
    const sail_slot *reader; /* plugin of kind dataset */
    int on_bad_row;          /* sail__on_bad_row */
    double held_out;         /* share of prompts, by hash, that is held out */
    int split;               /* sail__split */
    double from, to;         /* of the prompts, by hash, those at from <= place < to of 0 to 1; to 0: all */
    int64_t max_rows;        /* rows that come out; 0: all */
    const double *weights;   /* [n_paths] how often a row of the file counts; NULL: 1 each */
    const sail_node *fields; /* {what the reader calls it: what the file calls it}; NULL: the same */
    int pairing;             /* sail__data_pairing */
} sail__data_options;

/* Paths and weights from a recipe's value: a name, a pattern (*, ?, [), {path, weight}, or a list of them. In the arena. */
sail_code sail__data_files(sail_arena *a, const sail_node *n, const char *key, sail__data_options *o, sail_err *err);
/* A recipe's share: [FROM, TO]; NULL: all of it. Several readers of one file take parts that have no prompt in common. */
sail_code sail__data_share(const sail_node *share, sail__data_options *o, sail_err *err);
sail_code sail__data_check_fields(const sail_node *fields, sail_err *err); /* is it such a map? */

/* Why rows were left out, and the first lines where that happened. */
enum { SAIL__DROP_LINES = 5 };
typedef struct sail__drop {
    const char *reason;
    int64_t n;
    const char *file[SAIL__DROP_LINES];
    int64_t line[SAIL__DROP_LINES];
} sail__drop;
typedef struct sail__drops {
    sail_arena *arena;
    sail__drop *items;
    size_t n, cap;
} sail__drops;
sail_code sail__drops_add(sail__drops *d, const char *reason, const char *file, int64_t line, sail_err *err);
sail_code sail__drops_merge(sail__drops *d, const sail__drops *more, sail_err *err); /* adds what `more` has */
int64_t sail__drops_total(const sail__drops *d);
/* "6 of 2312 rows dropped: 4 empty response (lines 12, 99, …); …"; nothing where none was. */
void sail__drops_print(const sail__drops *d, int64_t rows, sail_buf *out);

/* Readers in Lua: a record as a node, and a row from a map {prompt or messages, chosen, rejected, completion, label, responses, drop …}. */
sail_code sail__record_to_node(const sail_json *v, sail_arena *a, sail_node **out, sail_err *err);
sail_code sail__row_from_node(sail_row *row, const sail_node *n, sail_err *err);

/* Files as a stream of rows; memory does not grow with the file. */
typedef struct sail__source sail__source;
sail_code sail__source_open(const sail__data_options *o, sail__source **out, sail_err *err); /* options are borrowed */
/* The next row into the arena; *row is NULL at the end. */
sail_code sail__source_next(sail__source *s, sail_arena *a, sail_row **row, sail_err *err);
const sail__drops *sail__source_drops(const sail__source *s);
int64_t sail__source_records(const sail__source *s); /* read so far, dropped ones too */
const char *sail__source_fault(const sail__source *s); /* what was wrong with the first malformed row; NULL: none was */
void sail__source_close(sail__source *s);

/* Records without a reader, for commands that take JSONL themselves: the next value of the file (any JSON value), valid
 * until the following call; NULL at the end. */
typedef struct sail__json_stream sail__json_stream;
sail_code sail__json_stream_open(const char *path, sail__json_stream **out, sail_err *err);
sail_code sail__json_stream_next(sail__json_stream *s, const sail_json **v, int64_t *line, sail_err *err);
void sail__json_stream_close(sail__json_stream *s);
/* A map as JSON text up to its last brace, for members to be added; those named (to NULL) are left out. sail__free. */
sail_code sail__json_open_record(const sail_json *map, const char *const *without, char **out, sail_err *err);

/* Is a row with this prompt hash held out? The same in every run and on every machine. */
bool sail__held_out(uint64_t prompt_hash, double share);
/* order[i]: which of n rows comes at position i of pass `epoch`: a permutation, a function of seed and epoch only. */
void sail__shuffle(uint64_t seed, uint64_t epoch, uint32_t *order, size_t n);

/* ---- tokens ---- */
enum sail__truncate { SAIL__TRUNCATE_DROP, SAIL__TRUNCATE_START, SAIL__TRUNCATE_END };

typedef struct sail__encode_options {
    const sail__tokenizer *tokenizer;
    const sail__template *chat;       /* for parts that are messages; texts are taken as they are */
    int64_t max_prompt, max_response; /* tokens; 0: no limit. The end token counts */
    int truncate;                     /* what is too long: the row is dropped, or its start or its end cut off */
    bool no_end;                      /* append no end token to responses */
    const int32_t *closing;           /* [n_closing] appended to a response of messages behind its end token: sail__closing_ids */
    size_t n_closing;
    bool parse_special;               /* strings of special tokens in texts (not in messages) become their ids */
} sail__encode_options;

typedef struct sail__encoded {
    int32_t *prompt, *chosen, *rejected; /* chosen: or the completion; NULL: absent */
    size_t n_prompt, n_chosen, n_rejected;
    bool cut_prompt, cut_chosen, cut_rejected; /* truncated; a response cut at its end has no end token */
    struct sail__encoded_response *behind;     /* of a ranking: as in the row */
    size_t n_behind;
} sail__encoded;
typedef struct sail__encoded_response {
    int32_t *ids;
    size_t n;
    bool cut;
} sail__encoded_response;
/* The responses of a row, the best first: how many there are, and the k-th of them (beyond: ids NULL). */
size_t sail__encoded_responses(const sail__encoded *e);
sail__encoded_response sail__encoded_at(const sail__encoded *e, size_t k);

/* Prompt and responses apart, each as ids; joined they are the sequence. A space at the end of a prompt goes to the
 * responses, where it would have merged; ready ids are taken as they are, without an end token. *dropped gets the
 * reason where the row cannot be used (too long, empty, chosen equal to rejected), else NULL; out is then not filled.
 */
sail_code sail__encode_row(const sail__encode_options *o, sail__token_scratch *scratch, const sail_row *row,
                           sail_arena *a, sail__encoded *out, const char **dropped, sail_err *err);
/* The prompt alone (text as it is, messages through the template with the generation prompt). */
sail_code sail__encode_prompt(const sail__encode_options *o, sail__token_scratch *scratch, const sail__part *prompt,
                              sail__ids *out, sail_err *err);

/* What a whole conversation has behind the end token of its last message (a newline in chatml): reward models are read there. */
sail_code sail__closing_ids(const sail__template *chat, const sail__tokenizer *t, sail__ids *out, sail_err *err);

/* ---- all of it in memory, as training wants it ---- */
typedef struct sail__rows {
    sail_arena *arena;
    sail_row **rows;
    sail__encoded *encoded;
    size_t n, cap, cap_encoded;
    int64_t records; /* read */
    sail__drops drops;
} sail__rows;
sail_code sail__rows_load(const sail__data_options *d, const sail__encode_options *e, sail__rows *out, sail_err *err);
void sail__rows_free(sail__rows *r);

#endif
