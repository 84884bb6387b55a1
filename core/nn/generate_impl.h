/* generate_impl.h - what generate.c and generate_cache.c share: the generator, and the pages of its key/value cache.
 *
 * Floor: nn. A page holds PAGE tokens; page p is rows p * PAGE of every layer's cache. */
#ifndef SAIL_GENERATE_IMPL_H
#define SAIL_GENERATE_IMPL_H

#include "generate.h"
#include "inputs.h"
#include "outputs.h"

enum { PAGE = 64, MOST_AHEAD = 16, PREFILL_TOKENS = 2048 };

typedef struct group { /* a prompt whose children are being decoded */
    const sail__gen_request *request;
    int index;      /* of the request */
    int next_child; /* not yet admitted */
    int live;       /* admitted, not finished */
    int32_t *pages;
    int n_pages;
} group;

typedef struct sequence {
    group *group;
    sail__gen_response *response;
    int32_t *pages;
    int n_pages;
    bool whole; /* its pages hold the prompt, too */
    bool again; /* prompt and response have been computed again, in the long form */
} sequence;

struct sail__generator {
    sail__model *model;
    sail__model_view view;
    sail__head_kind head;
    int batch, ahead;
    sail_graph *graph;
    sail_exec *exec;
    sail_tensor *bind;
    int n_bind, first_cache;
    int64_t pages;
    int32_t *free_pages;
    int64_t n_free;
    bool keeps;       /* the cache of the one sequence outlives its response */
    int32_t *kept;    /* [n_kept]: its tokens, of which page p holds those from p * PAGE on */
    size_t cap_kept;
    int64_t n_kept;
    int64_t past;     /* ids of a row of the graph's history; 0: it has none */
    int32_t *history; /* [rows, past] */
    size_t cap_history;
    sail__inputs inputs;
    sail__outputs outputs;
    sail__forest forest;
    sequence *live;
    int n_live;
    sequence **row_of; /* sequence of each sampled row */
    size_t cap_rows;
    float *params, *logp, *drawn;
    int32_t *keys, *ids;
    int32_t *runs;
    size_t cap_runs;
    int32_t *slots;
    size_t cap_slots;
    sail__gen_counters counters;
    sail__generator *beside; /* the reference of a mixture: its graph and its cache, with this one's pages; NULL: no mixture */
    float *logits[2];        /* [rows, vocab] of a mixture */
    size_t cap_logits[2];
    double *mixed; /* [vocab] */
    int32_t *order;
};

/* Room for so many pages, all of them free; what was kept stays where it was. */
sail_code sail__cache_make(sail__generator *g, int64_t pages, sail_err *err);
void sail__cache_drop(sail__generator *g);
/* All pages are free, the lowest comes first. */
void sail__cache_reset(sail__generator *g);
int sail__pages_for(int64_t tokens);
/* Pages of a request's prompt, and of each child of its own. */
int sail__prompt_pages(const sail__generator *g, const sail__gen_request *r);
int sail__child_pages(const sail__generator *g, const sail__gen_request *r);
/* Whether a response may outgrow the short form of the rotary factors: then prompt and response are computed again. */
bool sail__may_outgrow(const sail__generator *g, const sail__gen_request *r);
void sail__take_pages(sail__generator *g, int32_t *pages, int n);
void sail__give_pages(sail__generator *g, const int32_t *pages, int n);

/* How many of a prompt's tokens the cache still holds; never all, since the last one's logits are wanted. */
int64_t sail__cache_known(const sail__generator *g, const sail__gen_request *r);
/* The cache holds what was computed of this response and its prompt. */
sail_code sail__cache_keep(sail__generator *g, const sail__gen_request *r, const sail__gen_response *response, sail_err *err);

#endif
