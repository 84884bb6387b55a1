/* data_impl.h - what the files of the data readers share: data_value.c (records and rows as plugins see them),
 * data_stream.c (files to JSON values), data_source.c (values to rows), data_encode.c (rows to ids), data.c (the rest).
 *
 * Floor: io. Not for other parts of the program. */
#ifndef SAIL_DATA_IMPL_H
#define SAIL_DATA_IMPL_H

#include <jansson.h>

#include "data.h"

/* What happened to the last call of sail__records_next. */
typedef struct sail__records sail__records; /* records of one file */
sail_code sail__records_open(const char *path, sail__records **out, sail_err *err);
void sail__records_close(sail__records *r);
/* The next value, valid until the following call; NULL at the end. *line is where it begins. *skippable: the error
 * concerns this record alone, and the next call goes on behind it. */
sail_code sail__records_next(sail__records *r, const json_t **v, int64_t *line, bool *skippable, sail_err *err);

sail_code sail__row_copy(sail_arena *a, const sail_row *from, sail_row **out, sail_err *err);
void sail__row_hash(sail_row *row);
bool sail__part_empty(const sail__part *p); /* nothing but white space */
bool sail__part_equal(const sail__part *a, const sail__part *b);

#endif
