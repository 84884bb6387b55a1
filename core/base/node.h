/* node.h - parsed values: what YAML, JSON, Lua tables and key=value all become before they are typed.
 *
 * Floor: base. Ownership: nodes live in the arena they were made in. They are immutable once given to others,
 * except through the functions below. A map keeps the order of its keys. */
#ifndef SAIL_NODE_H
#define SAIL_NODE_H

#include "base.h"
#include "../sail/opt.h"

typedef enum sail_node_kind {
    SAIL_NODE_NULL,
    SAIL_NODE_BOOL,
    SAIL_NODE_INT,
    SAIL_NODE_FLOAT,
    SAIL_NODE_STRING,
    SAIL_NODE_LIST,
    SAIL_NODE_MAP,
    SAIL_NODE_FUNCTION, /* a Lua function: `function` is its handle (an index that only lua/ understands) */
} sail_node_kind;

typedef struct sail_node sail_node;
struct sail_node {
    sail_node_kind kind;
    const char *origin; /* file name, "command line", "default", "PLUGIN"; never NULL */
    int line, column;   /* from 1; 0: unknown */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct {
            const char *data; /* NUL-terminated; may hold NULs inside */
            size_t len;
            bool quoted; /* YAML: written in quotes, so never a number */
        } string;
        struct {
            sail_node **items;
            const char **keys; /* MAP only */
            size_t n, cap;
        } list; /* LIST and MAP */
        int64_t function;
    };
};

sail_node *sail__node_new(sail_arena *a, sail_node_kind kind, const char *origin, int line, int column); /* NULL: oom */
sail_node *sail__node_string(sail_arena *a, const char *s, const char *origin);
sail_node *sail__node_copy(sail_arena *a, const sail_node *n); /* deep */
bool sail__node_append(sail_arena *a, sail_node *list, sail_node *item);
/* Set or replace; the key is copied. '-' and '_' are alike. */
bool sail__node_set(sail_arena *a, sail_node *map, const char *key, sail_node *value);
bool sail__node_unset(sail_node *map, const char *key);
/* NULL if it is no map or has no such key. */
sail_node *sail__node_get(const sail_node *map, const char *key);
/* By path: "method.routes.dpp.weight", list items as [0]. NULL if absent. */
sail_node *sail__node_find(const sail_node *root, const char *path);
/* Create the maps on the way. Fails where a scalar is in the way. */
sail_code sail__node_put(sail_arena *a, sail_node *root, const char *path, sail_node *value, sail_err *err);
/* Merge over into base: maps deeply, everything else replaced; null deletes the key. base changes, over does not. */
bool sail__node_merge(sail_arena *a, sail_node *base, const sail_node *over);
bool sail__node_equal(const sail_node *a, const sail_node *b); /* values, not origins */

/* Typed access with an error that names origin:line and `key`. INT is accepted as a double; a float with an integral
 * value as an int64. */
sail_code sail__node_as_double(const sail_node *n, const char *key, double *out, sail_err *err);
sail_code sail__node_as_int(const sail_node *n, const char *key, int64_t *out, sail_err *err);
sail_code sail__node_as_string(const sail_node *n, const char *key, const char **out, sail_err *err);
sail_code sail__node_as_bool(const sail_node *n, const char *key, bool *out, sail_err *err);
const char *sail__node_kind_name(sail_node_kind kind); /* "a list", "a string" … */
/* "recipe.yaml:12" or "command line". */
const char *sail__node_where(sail_arena *a, const sail_node *n);

/* Text out. JSON is one line; infinities and NaN become the strings "inf", "-inf", "nan"; doubles with 17 digits
 * where needed. A FUNCTION is written as the string "<function>". */
void sail__node_to_json(sail_buf *out, const sail_node *n);
void sail__node_to_yaml(sail_buf *out, const sail_node *n, int indent, bool with_origin);
void sail__json_quote(sail_buf *out, const char *s, size_t n);
/* A float in the shortest form that gives the same float back; "inf", "-inf" and "nan" as strings. */
void sail__json_float(sail_buf *b, float x);
void sail__json_ids(sail_buf *b, const int32_t *ids, int64_t n); /* [1, 2, 3] */
void sail__json_floats(sail_buf *b, const float *x, int64_t n, bool first_is_null);

/* ---- option tables ---- */
/* A list of problems, so that all are told at once. Where memory was lacking the list says nothing about what was read:
 * sail__problems_oom. */
typedef struct sail_problem {
    const char *where, *path, *message;
} sail_problem;
typedef struct sail_problems {
    sail_arena *arena;
    sail_problem *items;
    size_t n, cap;
    bool oom;
} sail_problems;
void sail__problem(sail_problems *p, const sail_node *at, const char *path, const char *fmt, ...) SAIL_PRINTF(4, 5);
/* What a call that failed says, as a problem; a lack of memory is remembered as such. */
void sail__problem_of(sail_problems *p, const sail_node *at, const char *path, const sail_err *err);
bool sail__problems_oom(const sail_problems *p);
/* The first problem as an error of this code; SAIL_E_NOMEM where memory was lacking. */
sail_code sail__problems_fail(const sail_problems *p, sail_code code, sail_err *err);

/* Gives the value of a schedulable number that is not a plain one (a map {kind: …} or a function). */
typedef double (*sail_schedule_fn)(void *user, const sail_node *schedule, sail_err *err);

/* Fill *out (struct of the table, zeroed first) with the defaults and then with the keys of `map` (NULL: defaults only).
 * Unknown keys (with the nearest valid name), wrong types and values out of range are appended to `problems`;
 * `path` is the prefix for messages ("method.routes.dpp"). Keys in `ignore` (NULL-terminated, may be NULL) are skipped.
 * Strings point into the nodes. A schedulable number that is a map or function is set through `schedule`
 * (NULL: set to its `from`, or default, without a problem). Returns false when any problem was added. */
bool sail__opt_parse(const sail_opt *table, const sail_node *map, const char *path, const char *const *ignore,
                     sail_schedule_fn schedule, void *user, void *out, sail_problems *problems);
/* The table as a map of all values in *from, defaults included. */
sail_node *sail__opt_to_node(sail_arena *a, const sail_opt *table, const void *from);
/* One line a row, for help: name, type, default, range, help. */
void sail__opt_describe(sail_buf *out, const sail_opt *table, const char *indent);

/* ---- JSON (jansson inside: strict; NUL allowed in strings; duplicate keys rejected; depth <= 512) ---- */
sail_code sail__json_parse(sail_arena *a, const char *text, size_t n, const char *origin, int line, sail_node **out,
                           sail_err *err);
sail_code sail__json_read(sail_arena *a, const char *path, size_t most, sail_node **out, sail_err *err);
/* For who wants jansson's own values: json_loadb. *lacked: there is none for want of memory, whatever the text says. */
struct json_t;
struct json_error_t;
struct json_t *sail__json_load(const char *text, size_t n, size_t flags, bool *lacked, struct json_error_t *e);

#endif
