/* suite.h - what is run with the cases. */
#ifndef CONFORMANCE_SUITE_H
#define CONFORMANCE_SUITE_H

#include "case.h"

enum { MOST_DEVICES = 8, MOST_KINDS = 4096 };

struct suite {
    device ref;                   /* not strict */
    device devices[MOST_DEVICES]; /* the first is compared with ref, the others with the first, bit for bit */
    int n_devices;
    const char *ops; /* "matmul,attention" or NULL: all */
    int every;       /* of an op's cases only each so many-th; 0: all */
    int kinds;       /* of an op's kinds (types and what else chooses a program) only each so many-th, with all their cases; 0: all */
    int64_t most;    /* elements of a case's matrices at most; 0: any */
    int seen[SAIL_OP_COUNT];
    struct {
        uint64_t hash;
        bool chosen;
    } kind[MOST_KINDS];
    int n_kinds, kinds_of[SAIL_OP_COUNT];
    bool differences, bench, verbose;
    sail_arena *arena; /* of the case at hand */
    kase c;
    uint64_t seed;
    int passed, failed, missing, checked_differences;
    double worst[SAIL_OP_COUNT], worst_difference[SAIL_OP_COUNT];
    int count[SAIL_OP_COUNT], failures[SAIL_OP_COUNT];
};

/* Complete the outputs from the shape rule; false (and a message) when the case is no legal call. */
bool complete(suite *s, kase *c);
bool compare(suite *s, kase *c);
bool differences(suite *s, kase *c);
bool bench(suite *s, kase *c);

#endif
