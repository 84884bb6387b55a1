/* data_impl.h - what the files of the data readers share: data_value.c (records and rows as plugins see them),
 * data_unpack.c (files to bytes), data_stream.c (bytes to JSON values), data_files.c (which files, whose fields), data_source.c (values to
 * rows), data_ranking.c (of several responses: pairs or a ranking), data_encode.c (rows to ids), data.c (the rest).
 *
 * Floor: io. Not for other parts of the program. */
#ifndef SAIL_DATA_IMPL_H
#define SAIL_DATA_IMPL_H

#include <jansson.h>

#include "data.h"

/* The bytes of a file, unpacked; *got is 0 at the end. */
typedef struct sail__unpack sail__unpack;
sail_code sail__unpack_open(const char *path, sail__unpack **out, sail_err *err);
sail_code sail__unpack_read(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err);
void sail__unpack_close(sail__unpack *u);

/* A map with the same members, to be released; NULL: no memory. */
json_t *sail__json_copy_map(const json_t *map);

/* How many copies of a record a file of this weight gives: the whole part, and one more by the hash of where it stands. */
int64_t sail__data_copies(double weight, size_t file, int64_t record);
/* The record with the reader's names for its fields; to be released. *met gets a bit for each field whose name it has.
 */
sail_code sail__data_map_fields(const sail_node *fields, const json_t *record, json_t **out, uint64_t *met,
                                sail_err *err);

/* Which of the names in `fields` this record does not have, and which it has: what may be behind the reader's complaint. Nothing where it
 * has them all. */
void sail__data_fields_lacking(const sail_node *fields, const json_t *record, sail_buf *out);

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
/* Why a row of n responses is dropped in which two are the same. */
static inline const char *sail__equal_responses(size_t n)
{
    return n > 2 ? "two responses of a ranking are equal" : "chosen and rejected are equal";
}

#endif
