/* jinja_impl.h - what the files of the Jinja interpreter share: jinja_lex.c (text to tokens), jinja_expr.c and jinja_parse.c
 * (tokens to a tree), jinja_value.c, jinja_compare.c and jinja_text.c (values, and their text), jinja_eval.c (expressions), jinja_exec.c
 * (statements), jinja_filter.c, jinja_sequence.c (filters of lists), jinja_test.c, jinja_method.c, jinja_container.c, jinja_format.c
 * (functions).
 *
 * Floor: io. Not for other parts of the program. Values of a rendering live in its arena and are freed at once; a function
 * that returns bool says false after it has told the fault. */
#ifndef SAIL_JINJA_IMPL_H
#define SAIL_JINJA_IMPL_H

#include <string.h>

#include "jinja.h"

__extension__ typedef __int128 sail__jint; /* Python's integers, as far as anyone goes */

/* ---- values ---- */
typedef struct sail__jv sail__jv;

typedef struct sail__jstr {
    const char *p; /* valid UTF-8, NULs allowed */
    size_t n;
    const unsigned char *foreign; /* a byte each: somebody else wrote it; NULL: none of it */
    bool markup;                  /* Python's Markup: escapes what is added to it */
} sail__jstr;
typedef struct sail__jlist {
    sail__jv *items;
    size_t n;
} sail__jlist;
typedef struct sail__jdict {
    sail__jv *keys, *values; /* in the order of insertion */
    size_t n, cap;
} sail__jdict;
typedef struct sail__jiter { /* an iterator that is used up, or the view of a mapping, which is not */
    sail__jlist list;
    size_t at;
    const char *name;
} sail__jiter;
typedef struct sail__jrange {
    int64_t start, stop, step;
    size_t n;
} sail__jrange;
typedef struct sail__jloop sail__jloop;
typedef struct sail__jmacro sail__jmacro;
typedef struct sail__jbound sail__jbound;
typedef struct sail__jcycler {
    sail__jlist list;
    size_t at;
} sail__jcycler;

typedef enum sail__jkind {
    SAIL__J_ABSENT, /* an argument that is not given */
    SAIL__J_UNDEFINED,
    SAIL__J_NONE,
    SAIL__J_BOOL,
    SAIL__J_INT,
    SAIL__J_FLOAT,
    SAIL__J_STRING,
    SAIL__J_LIST,
    SAIL__J_TUPLE,
    SAIL__J_DICT,
    SAIL__J_RANGE,
    SAIL__J_ITER,
    SAIL__J_VIEW,
    SAIL__J_NAMESPACE,
    SAIL__J_FUNCTION, /* a global's or a method's: bound */
    SAIL__J_MACRO,
    SAIL__J_LOOP,
    SAIL__J_CYCLER,
    SAIL__J_JOINER,
} sail__jkind;

struct sail__jv {
    unsigned char kind; /* sail__jkind */
    bool flag;          /* UNDEFINED: forbidden, not absent. TUPLE: of groupby */
    union {
        bool boolean;
        sail__jint integer;
        double number;
        const sail__jstr *string;
        const char *why; /* UNDEFINED: the message of a use */
        const sail__jlist *list;
        sail__jdict *dict; /* and NAMESPACE */
        const sail__jrange *range;
        sail__jiter *iter;
        const sail__jbound *bound;
        const sail__jmacro *macro;
        sail__jloop *loop;
        sail__jcycler *cycler; /* and JOINER: `at` counts the calls */
    };
};

/* ---- the tree ---- */
typedef enum sail__jop {
    SAIL__J_ADD,
    SAIL__J_SUB,
    SAIL__J_MUL,
    SAIL__J_DIV,
    SAIL__J_FLOORDIV,
    SAIL__J_MOD,
    SAIL__J_POW,
    SAIL__J_EQ,
    SAIL__J_NE,
    SAIL__J_LT,
    SAIL__J_LE,
    SAIL__J_GT,
    SAIL__J_GE,
    SAIL__J_IN,
    SAIL__J_NOT_IN,
} sail__jop;

typedef enum sail__jnode_kind {
    /* expressions */
    SAIL__JN_CONST,
    SAIL__JN_NAME,
    SAIL__JN_TUPLE,
    SAIL__JN_LIST,
    SAIL__JN_DICT, /* items: key, value, … */
    SAIL__JN_COND, /* a: test, b, c: else or NULL */
    SAIL__JN_OR,
    SAIL__JN_AND,
    SAIL__JN_NOT,
    SAIL__JN_COMPARE, /* a; items: OPERAND */
    SAIL__JN_OPERAND, /* op, a */
    SAIL__JN_BINARY,
    SAIL__JN_NEG,
    SAIL__JN_POS,
    SAIL__JN_CONCAT,
    SAIL__JN_ATTR,   /* a, name */
    SAIL__JN_ITEM,   /* a, b */
    SAIL__JN_SLICE,  /* a, b, c, each may be NULL */
    SAIL__JN_CALL,   /* a; items: arguments, names and named, b: *, c: ** */
    SAIL__JN_FILTER, /* a (NULL: of a block), name, fn, arguments */
    SAIL__JN_TEST,
    /* statements */
    SAIL__JN_BODY,
    SAIL__JN_DATA,
    SAIL__JN_PRINT,
    SAIL__JN_FOR,          /* a: target, b: of what, c: if, body, other; flag: recursive */
    SAIL__JN_IF,           /* items: test, body, …; other */
    SAIL__JN_SET,          /* a: target, b */
    SAIL__JN_SET_BLOCK,    /* a: target, b: filters, body */
    SAIL__JN_MACRO,        /* name, items: parameters, named[i]: default or NULL, body; flags USES_* in op */
    SAIL__JN_CALL_BLOCK,   /* a: the call, b: MACRO */
    SAIL__JN_FILTER_BLOCK, /* a: filters, body */
    SAIL__JN_WITH,         /* items: target, value, …; body */
    SAIL__JN_GENERATION,
    SAIL__JN_SCOPE, /* body, in a scope of its own */
    SAIL__JN_BREAK,
    SAIL__JN_CONTINUE,
    SAIL__JN_NSREF, /* a target: name of a namespace, and of its attribute in names[0] */
} sail__jnode_kind;
enum { SAIL__J_USES_CALLER = 1, SAIL__J_USES_VARARGS = 2, SAIL__J_USES_KWARGS = 4 };

typedef struct sail__jname { /* each name is kept once: equal names are equal pointers */
    sail__jstr text;
    struct sail__jname *next;
    uint64_t hash;
} sail__jname;

typedef struct sail__jvm sail__jvm;
typedef struct sail__jargs sail__jargs;
typedef bool sail__jfn(sail__jvm *vm, const sail__jv *self, const sail__jargs *args, sail__jv *out);

typedef struct sail__jnode sail__jnode;
struct sail__jnode {
    unsigned char kind; /* sail__jnode_kind */
    bool flag;
    short op;
    int line, depth;
    const sail__jname *name;
    sail__jfn *fn; /* FILTER, TEST; NULL: there is none of that name */
    sail__jnode *a, *b, *c, *body, *other;
    sail__jnode **items, **named;
    const sail__jname **names;
    unsigned n, n_named;
    sail__jv value;
};

enum { SAIL__J_NAME_SLOTS = 1024 };
struct sail__jinja {
    sail_arena *arena;
    const char *origin;
    sail__jnode *root;
    sail__jname *slots[SAIL__J_NAME_SLOTS];
};
const sail__jname *sail__jname_find(const sail__jinja *t, const char *s, size_t n); /* NULL: not in the text */

/* ---- lexer ---- */
typedef enum sail__jtoken_kind {
    SAIL__JT_EOF,
    SAIL__JT_DATA,
    SAIL__JT_PRINT_BEGIN,
    SAIL__JT_PRINT_END,
    SAIL__JT_BLOCK_BEGIN,
    SAIL__JT_BLOCK_END,
    SAIL__JT_NAME,
    SAIL__JT_STRING,
    SAIL__JT_INT,
    SAIL__JT_FLOAT,
    SAIL__JT_OP, /* text is the operator */
} sail__jtoken_kind;
typedef struct sail__jtoken {
    sail__jtoken_kind kind;
    int line;
    const char *p; /* DATA, NAME, OP; STRING: unescaped */
    size_t n;
    sail__jint integer;
    double number;
} sail__jtoken;

typedef struct sail__jparser {
    sail__jinja *t;
    sail__jtoken *tokens;
    size_t n, cap, at;
    int depth, loops;
    bool soft;     /* an unknown filter or test is told when it is reached */
    unsigned uses; /* of the macro that is read */
    sail__jinja_fault *fault;
    sail_err *err;
    bool failed; /* the first fault stays: from there on every token is the end, and every node `none` */
    sail__jnode none;
} sail__jparser;
void sail__jsyntax(sail__jparser *p, int line, const char *fmt, ...) SAIL_PRINTF(3, 4);
void sail__jnomem(sail__jparser *p);
void *sail__jp_alloc(sail__jparser *p, size_t count, size_t size); /* NULL: told */
void sail__jlex(sail__jparser *p, const char *text, size_t len);
const sail__jname *sail__jname_intern(sail__jparser *p, const char *s, size_t n);
sail__jnode *sail__jnode_new(sail__jparser *p, sail__jnode_kind kind, int line);
void sail__jnode_add(sail__jparser *p, sail__jnode *to, sail__jnode *item);
void sail__jnode_named(sail__jparser *p, sail__jnode *to, const sail__jname *name, sail__jnode *value);
sail__jnode *sail__jnode_depth(sail__jparser *p, sail__jnode *n); /* once its children are there */
/* Tokens. */
bool sail__jp_is(const sail__jparser *p, const char *op);
bool sail__jp_is_name(const sail__jparser *p, const char *name);
bool sail__jp_skip(sail__jparser *p, const char *op);
bool sail__jp_skip_name(sail__jparser *p, const char *name);
void sail__jp_expect(sail__jparser *p, const char *op);
const sail__jname *sail__jp_name(sail__jparser *p);
const char *sail__jp_describe(sail__jparser *p, const sail__jtoken *t);
/* Expressions (jinja_expr.c). */
sail__jnode *sail__jp_expression(sail__jparser *p, bool with_condition);
enum {
    SAIL__JP_SIMPLE = 1,
    SAIL__JP_NO_CONDITION = 2,
    SAIL__JP_PARENTHESES = 4,
    SAIL__JP_UNTIL_IN = 8,
    SAIL__JP_UNTIL_RECURSIVE = 16
};
sail__jnode *sail__jp_tuple(sail__jparser *p, unsigned flags);
sail__jnode *sail__jp_primary(sail__jparser *p);
sail__jnode *sail__jp_filters(sail__jparser *p, sail__jnode *of, bool at_name);
/* Statements (jinja_parse.c). */
sail__jnode *sail__jp_body(sail__jparser *p, const char *const *ends, const char *inside, int line);

/* ---- rendering ---- */
typedef struct sail__jbuf { /* a text that grows in the arena */
    char *p;
    unsigned char *foreign;
    size_t n, cap;
} sail__jbuf;

typedef struct sail__jvar {
    const sail__jname *name;
    sail__jv value;
} sail__jvar;
typedef struct sail__jscope {
    struct sail__jscope *parent;
    sail__jvar *vars;
    unsigned n, cap;
} sail__jscope;

struct sail__jvm {
    const sail__jinja *t;
    const sail__jinja_options *o;
    sail_arena *arena;
    int64_t steps;
    size_t memory, memory_limit, output_limit;
    int depth, depth_limit, line;
    sail__jscope *root, *scope;
    sail__jbuf *out, text; /* where printing goes; the rendering's own text */
    sail__spans *generation;
    sail__jinja_fault *fault;
    sail_err *err;
};
bool sail__jfail(sail__jvm *vm, sail__jinja_kind kind, const char *fmt, ...) SAIL_PRINTF(3, 4);
void *sail__jalloc(sail__jvm *vm, size_t count, size_t size); /* NULL: told */
static inline bool sail__jstep(sail__jvm *vm, size_t n)
{
    return (vm->steps -= (int64_t)n) >= 0 ||
           sail__jfail(vm, SAIL__JINJA_LIMIT, "the template takes too many steps and was stopped");
}

/* Making values. */
#define SAIL__JV(k, ...) ((sail__jv){.kind = SAIL__J_##k, __VA_ARGS__})
#define SAIL__JV_NONE ((sail__jv){.kind = SAIL__J_NONE})
bool sail__jv_text(sail__jvm *vm, const char *s, sail__jv *out);                                           /* borrowed */
bool sail__jv_string(sail__jvm *vm, const char *p, size_t n, const unsigned char *foreign, sail__jv *out); /* borrowed */
bool sail__jv_built(sail__jvm *vm, const sail__jbuf *b, sail__jv *out);
bool sail__jv_list(sail__jvm *vm, sail__jkind kind, const sail__jv *items, size_t n, sail__jv *out); /* borrowed */
bool sail__jv_iter(sail__jvm *vm, sail__jkind kind, const char *name, const sail__jv *items, size_t n, sail__jv *out);
bool sail__jv_undefined(sail__jvm *vm, sail__jv *out, const char *fmt, ...) SAIL_PRINTF(3, 4);
sail__jdict *sail__jdict_new(sail__jvm *vm, size_t cap);
bool sail__jdict_set(sail__jvm *vm, sail__jdict *d, sail__jv key, sail__jv value);
bool sail__jdict_get(sail__jvm *vm, const sail__jdict *d, sail__jv key, const sail__jv **value);
const sail__jv *sail__jdict_text(const sail__jdict *d, const char *key, size_t n);
bool sail__jv_from_node(sail__jvm *vm, const sail_node *n, bool foreign, sail__jv *out);

/* A growing list in the arena. */
typedef struct sail__jitems {
    sail__jv *items;
    size_t n, cap;
} sail__jitems;
bool sail__jitems_add(sail__jvm *vm, sail__jitems *l, sail__jv v);

/* Text. */
bool sail__jbuf_add(sail__jvm *vm, sail__jbuf *b, const char *p, size_t n, const unsigned char *foreign);
bool sail__jbuf_str(sail__jvm *vm, sail__jbuf *b, const char *s);
bool sail__jbuf_char(sail__jvm *vm, sail__jbuf *b, uint32_t c, bool foreign);
bool sail__jv_str(sail__jvm *vm, const sail__jv *v, sail__jbuf *b);  /* Python's str */
bool sail__jv_repr(sail__jvm *vm, const sail__jv *v, sail__jbuf *b); /* Python's repr */
bool sail__jv_to_string(sail__jvm *vm, const sail__jv *v, const sail__jstr **out);
void sail__jfloat_text(double x, char out[40]);
void sail__jint_text(sail__jint i, char out[48]);
bool sail__jescape(sail__jvm *vm, const sail__jv *v, const sail__jstr **out); /* HTML; markup stays as it is */
typedef struct sail__jjson {
    bool ascii, sort;
    const sail__jstr *indent, *item, *key; /* NULL: one line; separators */
} sail__jjson;
bool sail__jv_json(sail__jvm *vm, const sail__jv *v, const sail__jjson *o, int level, sail__jbuf *b);
bool sail__jspace(uint32_t c);                         /* what Python's str.isspace says */
size_t sail__jlength(const sail__jstr *s);             /* characters */
uint32_t sail__jnext(const sail__jstr *s, size_t *at); /* the character there; *at moves on */

/* Operations. */
const char *sail__jtype(const sail__jv *v); /* Python's name of the type */
bool sail__jtruth(const sail__jv *v);
bool sail__jhashable(const sail__jv *v); /* may it be a key? */
bool sail__jequal(sail__jvm *vm, const sail__jv *a, const sail__jv *b, bool *equal);
bool sail__jorder(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b, int *order); /* <0 0 >0; 2: NaN */
bool sail__jcontains(sail__jvm *vm, const sail__jv *in, const sail__jv *v, bool *yes);
bool sail__jcompare(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b, bool *yes);
bool sail__jitems_of(sail__jvm *vm, const sail__jv *v, sail__jlist *out); /* what a for loop over it sees */
bool sail__jsize(sail__jvm *vm, const sail__jv *v, size_t *n);            /* len() */
bool sail__jattr(sail__jvm *vm, const sail__jv *v, const sail__jstr *name, sail__jv *out);
bool sail__jitem(sail__jvm *vm, const sail__jv *v, const sail__jv *key, sail__jv *out);
bool sail__jslice(sail__jvm *vm, const sail__jv *v, const sail__jv *from, const sail__jv *to, const sail__jv *step,
                  sail__jv *out);
bool sail__jbinary(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b, sail__jv *out);
bool sail__jundefined_used(sail__jvm *vm, const sail__jv *v); /* tells it; false */
bool sail__jas_int(sail__jvm *vm, const sail__jv *v, const char *what, int64_t *out);

/* Functions. */
struct sail__jargs {
    const sail__jv *items;
    size_t n;
    const sail__jstr **names;
    const sail__jv *named;
    size_t n_named;
};
/* Arguments to parameters ("name,other"), as Python binds them; what is not given is ABSENT. `required` first ones must be. */
bool sail__jbind(sail__jvm *vm, const char *what, const sail__jargs *args, const char *parameters, size_t required,
                 sail__jv *out);
/* Begins the definition of one. */
#define SAIL__JFN(name) static bool name(sail__jvm *vm, const sail__jv *self, const sail__jargs *args, sail__jv *out)
/* a[0], a[1], …: its arguments by sail__jbind. */
#define SAIL__JBIND(name, parameters, required)                                                                                  \
    sail__jv a[8];                                                                                                               \
    if (!sail__jbind(vm, name, args, parameters, required, a))                                                                   \
    return false
static inline bool sail__jgiven(const sail__jv *v) /* neither left out nor none */
{
    return v->kind != SAIL__J_ABSENT && v->kind != SAIL__J_NONE;
}
struct sail__jbound {
    const char *name;
    sail__jfn *fn;
    sail__jv self;
};
bool sail__jcall(sail__jvm *vm, const sail__jv *callee, const sail__jargs *args, sail__jv *out);
bool sail__jcall_macro(sail__jvm *vm, const sail__jmacro *m, const sail__jargs *args, sail__jv *out); /* jinja_exec.c */
bool sail__jcall_loop(sail__jvm *vm, sail__jloop *l, const sail__jargs *args, sail__jv *out);
bool sail__jloop_attr(sail__jvm *vm, sail__jloop *l, const char *name, sail__jv *out, bool *found);
void sail__jloop_text(const sail__jloop *l, char *out, size_t size);
const char *sail__jmacro_name(const sail__jmacro *m);
bool sail__jmacro_attr(sail__jvm *vm, const sail__jmacro *m, const char *name, sail__jv *out, bool *found);

typedef struct sail__jentry {
    const char *name;
    sail__jfn *fn;
} sail__jentry;
/* Filters (jinja_filter.c, jinja_sequence.c), tests and globals (jinja_test.c), methods (jinja_method.c, jinja_container.c; of a cycler
 * jinja_test.c): each table ends with a NULL name. */
extern const sail__jentry sail__jfilters_text[], sail__jfilters_list[], sail__jtests[], sail__jglobals[];
extern const sail__jentry sail__jmethods_string[], sail__jmethods_string_more[], sail__jmethods_dict[], sail__jmethods_list[],
    sail__jmethods_cycler[];
sail__jfn *sail__jfilter_find(const char *name); /* NULL: none */
sail__jfn *sail__jtest_find(const char *name);
const sail__jentry *sail__jentry_find(const sail__jentry *table, const char *name);
bool sail__jformat(sail__jvm *vm, const sail__jv *self, const sail__jargs *args, sail__jv *out);     /* str.format */
bool sail__jpercent(sail__jvm *vm, const sail__jstr *format, const sail__jv *values, sail__jv *out); /* "%s" % x */
bool sail__jeval(sail__jvm *vm, const sail__jnode *n, sail__jv *out);
bool sail__jeval_args(sail__jvm *vm, const sail__jnode *n, sail__jargs *out);
bool sail__jlookup(sail__jvm *vm, const sail__jname *name, sail__jv *out);
bool sail__jassign(sail__jvm *vm, const sail__jnode *target, const sail__jv *value);
bool sail__japply_filters(sail__jvm *vm, const sail__jnode *filters, const sail__jv *to, sail__jv *out);

#endif
