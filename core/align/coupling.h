/* coupling.h - whether a loss couples the pairs of a step, so that it cannot be taken part by part.
 *
 * Floor: align. Threads: the tape's. A loss that is linear in sums and means over pairs is the sum of what its parts give. One in
 * which a sum meets a single pair, another sum or a function of it (F - mean F, sqrt of a mean, sort) is not. The tape follows
 * that from operator to operator. What is not seen: numbers that C takes off the tape with sail_value_of, and sail_gather and
 * sail_scatter to SAIL_ANY and back. */
#ifndef SAIL_COUPLING_H
#define SAIL_COUPLING_H

#include "../base/base.h"
#include "../sail/tape.h"

/* Whether root, a loss, is of several pairs in such a way, or numbers that were taken off the tape may have made it so. */
bool sail__tape_couples(const sail_tape *t, sail_var root);

/* To be told when a language's binding takes numbers of v off the tape, where they are not followed any further. together: several
 * elements may meet there. */
void sail__tape_read(sail_tape *t, sail_var v, bool together);

#endif
