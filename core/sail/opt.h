/* opt.h - typed option tables.
 *
 * Floor: base. One table describes the members of a plain struct; recipes (YAML, Lua, key=value), defaults,
 * `sail check`, `sail plugins NAME` and the documentation all read the same rows. Tables are static constants.
 * A table ends with a row whose name is NULL. */
#ifndef SAIL_OPT_H
#define SAIL_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sail_opt_type {
    SAIL_OPT_TYPE_BOOL,   /* member: bool */
    SAIL_OPT_TYPE_INT,    /* member: int64_t; accepts 1e3, 64k (x1000), 4Ki (x1024) */
    SAIL_OPT_TYPE_F64,    /* member: double; may be a schedule if SAIL_OPT_SCHEDULABLE */
    SAIL_OPT_TYPE_STR,    /* member: const char *, owned by the recipe */
    SAIL_OPT_TYPE_CHOICE, /* member: int, index into choices */
    SAIL_OPT_TYPE_NODE,   /* member: const struct sail_node *: taken as it is (lists, nested maps, functions) */
} sail_opt_type;

enum {
    SAIL_OPT_REQUIRED = 1u << 0,
    SAIL_OPT_SCHEDULABLE = 1u << 1, /* a number that may be a schedule; the struct is rebuilt every step */
    SAIL_OPT_PATH = 1u << 2,        /* a string; relative to the recipe's file */
    SAIL_OPT_SLOT = 1u << 3,        /* a node that names a plugin: NAME or {kind: NAME, …}; `unit` is the kind's name */
    SAIL_OPT_HIDDEN = 1u << 4,      /* not shown in help */
    SAIL_OPT_WORD = 1u << 5,        /* a string that may be written as a whole number without quotes */
};

typedef struct sail_node sail_node; /* a value of a recipe; no public function reads one: for the host's own tables */

typedef struct sail_opt {
    const char *name; /* as written in recipes; '-' and '_' are the same */
    sail_opt_type type;
    uint32_t flags;
    size_t offset;             /* of the member in the struct */
    double def, min, max;      /* BOOL (0/1), INT, F64, CHOICE (index). min == max: no bounds; else both count (INFINITY: none there) */
    const char *def_str;       /* STR; NULL: unset. NODE: for the description alone, what stands in for one that is not given */
    const char *const *choices; /* CHOICE: NULL-terminated names */
    const char *unit;          /* "nats", "tokens", "bytes", … or NULL */
    const char *help;          /* one sentence, lower case, no full stop */
} sail_opt;

/* The member's offset; does not compile without a warning (C++: an error) where the member is of another type. */
#define SAIL_OPT_AT(T, member, type) (offsetof(T, member) + 0 * sizeof(1 ? &((T *)0)->member : (type *)0))
#define SAIL_OPT_BOOL(T, member, ...) {.name = #member, .type = SAIL_OPT_TYPE_BOOL, .offset = SAIL_OPT_AT(T, member, bool), __VA_ARGS__}
#define SAIL_OPT_INT(T, member, ...) {.name = #member, .type = SAIL_OPT_TYPE_INT, .offset = SAIL_OPT_AT(T, member, int64_t), __VA_ARGS__}
#define SAIL_OPT_F64(T, member, ...) {.name = #member, .type = SAIL_OPT_TYPE_F64, .offset = SAIL_OPT_AT(T, member, double), __VA_ARGS__}
#define SAIL_OPT_STR(T, member, ...) {.name = #member, .type = SAIL_OPT_TYPE_STR, .offset = SAIL_OPT_AT(T, member, const char *), __VA_ARGS__}
#define SAIL_OPT_CHOICE(T, member, ...) {.name = #member, .type = SAIL_OPT_TYPE_CHOICE, .offset = SAIL_OPT_AT(T, member, int), __VA_ARGS__}
#define SAIL_OPT_NODE(T, member, ...) {.name = #member, .type = SAIL_OPT_TYPE_NODE, .offset = SAIL_OPT_AT(T, member, const sail_node *), __VA_ARGS__}

#ifdef __cplusplus
}
#endif
#endif
