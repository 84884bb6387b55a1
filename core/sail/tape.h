/* tape.h - reverse-mode differentiation over small double-precision vectors.
 *
 * Floor: align. Threads: a tape belongs to one thread. Ownership: values live in the tape, until it is freed.
 * Objectives and preference models are written on a tape, from C or from Lua with the same operators (tape_ops.def is
 * the one table they, the gradient test and `sail help lua` come from).
 *
 * A value is a vector with a domain. Operands of an operator have the same domain, or one of them is a scalar, which
 * spreads. Moving between domains is always explicit. The first error (domains that do not fit) is kept by the tape and
 * everything after it is harmless; ask sail_tape_status at the end.
 *
 *   SAIL_SCALAR    one number
 *   SAIL_PAIR      one a pair (a group of K >= 2 responses to one prompt)
 *   SAIL_RESPONSE  one a response, pair after pair, slot after slot
 *   SAIL_TOKEN     one a response token, response after response
 *   SAIL_ANY       any other length, made by sail_gather */
#ifndef SAIL_TAPE_H
#define SAIL_TAPE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_tape sail_tape;
typedef struct sail_var {
    int32_t id; /* from 1; a sail_var that was never given a value, or {-1}, is no value, and operators refuse it */
} sail_var;

typedef enum sail_domain { SAIL_SCALAR, SAIL_PAIR, SAIL_RESPONSE, SAIL_TOKEN, SAIL_ANY } sail_domain;

/* The ragged shape of a batch. Borrowed by the tape: must outlive it. The step_* counts cover the whole optimiser step,
 * of which this batch may be a part: means divide by them, so that splitting a step changes no gradient. */
typedef struct sail_layout {
    int64_t pairs, responses, tokens;
    const int64_t *response_of_pair;  /* [pairs + 1]: first response of each pair */
    const int64_t *token_of_response; /* [responses + 1]: first token of each response */
    int64_t step_pairs, step_responses, step_tokens;
    /* How many of each pair's responses, from the first, the preference is about; the rest were written along with them and left
     * aside by a choice: they count where the writing is weighed (sums over responses). [pairs]; NULL: all are compared. */
    const int32_t *compared;
    /* What each pair counts in sail_mean of PAIR values, which then divides by step_weight, the step's sum: several pairs made of one
     * prompt's responses count as one together. [pairs]; NULL: 1 each, and step_pairs divides. */
    const double *pair_weight;
    double step_weight;
} sail_layout;

sail_tape *sail_tape_new(const sail_layout *layout); /* layout may be NULL: scalars and SAIL_ANY only. NULL: no memory */
void sail_tape_free(sail_tape *t);
void sail_tape_reset(sail_tape *t, const sail_layout *layout); /* forget all values, keep the memory */
sail_code sail_tape_status(const sail_tape *t);
const char *sail_tape_message(const sail_tape *t); /* of the first error; "" */
void sail_tape_fail(sail_tape *t, sail_code code, const char *fmt, ...) SAIL_PRINTF(3, 4);

/* Leaves. n must be the domain's length (any for SAIL_ANY). Values are copied. */
sail_var sail_tape_leaf(sail_tape *t, sail_domain d, int64_t n, const double *values); /* gets a derivative */
sail_var sail_tape_constant(sail_tape *t, sail_domain d, int64_t n, const double *values);
sail_var sail_number(sail_tape *t, double value); /* a constant scalar */

/* Reading. The pointer is valid until the next operator is applied. */
const double *sail_value_of(const sail_tape *t, sail_var v);
int64_t sail_length_of(const sail_tape *t, sail_var v);
sail_domain sail_domain_of(const sail_tape *t, sail_var v);

/* d root / d everything; root is a scalar. Afterwards sail_gradient_of gives a vector as long as v (zeros where root does
 * not depend on v). May be called again for another root. */
sail_code sail_tape_backward(sail_tape *t, sail_var root);
const double *sail_gradient_of(const sail_tape *t, sail_var v);

/* Operators of one and two operands and the number-valued ones: each row of tape_ops.def is a function sail_NAME. */
#define TAPE_UNARY(name, doc) sail_var sail_##name(sail_tape *t, sail_var a);
#define TAPE_BINARY(name, doc) sail_var sail_##name(sail_tape *t, sail_var a, sail_var b);
#define TAPE_REDUCE(name, doc) sail_var sail_##name(sail_tape *t, sail_var a);
#include "tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE

/* mask[i] != 0 ? a : b; mask as long as the result; no derivative flows to what is not selected (not even 0 * inf). */
sail_var sail_select(sail_tape *t, const uint8_t *mask, sail_var a, sail_var b);
/* a + w (b - a), w a number. */
sail_var sail_lerp(sail_tape *t, sail_var a, sail_var b, double w);
sail_var sail_clamp(sail_tape *t, sail_var a, double low, double high); /* derivative 0 outside; NaN stays */
sail_var sail_power(sail_tape *t, sail_var a, double exponent);

/* result[i] = v[index[i]], domain d of length n (masks and indices are copied); scatter puts v[i] at index[i] of n zeros (repeated indices add). */
sail_var sail_gather(sail_tape *t, sail_var v, const int64_t *index, sail_domain d, int64_t n);
sail_var sail_scatter(sail_tape *t, sail_var v, const int64_t *index, sail_domain d, int64_t n);
/* Ascending, stable; the derivative goes back to where each value came from. Over the whole vector. */
sail_var sail_sort(sail_tape *t, sail_var v);
/* RESPONSE -> PAIR: the value of slot s of each pair (every pair must have more than s responses). */
sail_var sail_slot_of(sail_tape *t, sail_var v, int slot);
/* PAIR -> RESPONSE, RESPONSE -> TOKEN: repeat. */
sail_var sail_spread(sail_tape *t, sail_var v, sail_domain to);

#ifdef __cplusplus
}
#endif
#endif
