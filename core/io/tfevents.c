/* tfevents.c - TensorBoard event files, scalars only. */
#include "tfevents.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sail__tfevents {
    int fd;
    char *path;
    sail_buf record; /* kept between events */
};

/* ---- checksums and protobuf ---- */

uint32_t sail__crc32c(uint32_t crc, const void *data, size_t n)
{
    /* One nibble at a time: sixteen constants instead of a table made at run time. Polynomial 0x82f63b78, reflected. */
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                       0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    const unsigned char *p = data;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t masked(const void *data, size_t n)
{
    uint32_t crc = sail__crc32c(0, data, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_le(sail_buf *b, uint64_t v, int bytes)
{
    unsigned char out[8];
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(v >> 8 * i);
    sail__buf_add(b, out, (size_t)bytes);
}

static uint64_t get_le(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static void put_varint(sail_buf *b, uint64_t v)
{
    unsigned char out[10];
    size_t n = 0;
    do {
        out[n++] = (unsigned char)((v & 127) | (v > 127 ? 128 : 0));
        v >>= 7;
    } while (v);
    sail__buf_add(b, out, n);
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
static void put_key(sail_buf *b, int field, int type) { put_varint(b, (uint64_t)(field << 3 | type)); }

static void put_double(sail_buf *b, int field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_key(b, field, FIXED64);
    put_le(b, bits, 8);
}

/* Size of the message Value {1 tag, 2 simple_value}. */
static size_t value_size(const char *tag)
{
    size_t n = strlen(tag);
    return 1 + varint_size(n) + n + 1 + 4;
}

static void put_value(sail_buf *b, const char *tag, double value)
{
    size_t n = strlen(tag);
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    put_key(b, 1, BYTES);
    put_varint(b, n);
    sail__buf_add(b, tag, n);
    put_key(b, 2, FIXED32);
    put_le(b, bits, 4);
}

/* Put the frame around the data from `start` on, which was left room for 12 bytes. */
static void close_record(sail_buf *b, size_t start)
{
    if (b->oom)
        return;
    sail_buf head = {0};
    size_t n = b->len - start - 12;
    put_le(&head, n, 8);
    put_le(&head, head.oom ? 0 : masked(head.data, 8), 4);
    if (head.oom)
        b->oom = true;
    else
        memcpy(b->data + start, head.data, 12);
    sail__buf_free(&head);
    put_le(b, masked(b->data + start + 12, n), 4);
}

static size_t open_record(sail_buf *b)
{
    size_t start = b->len;
    put_le(b, 0, 8);
    put_le(b, 0, 4);
    return start;
}

static void put_version(sail_buf *b)
{
    static const char version[] = "brain.Event:2";
    size_t start = open_record(b);
    put_double(b, 1, sail__wall_time());
    put_key(b, 3, BYTES);
    put_varint(b, sizeof version - 1);
    sail__buf_add(b, version, sizeof version - 1);
    close_record(b, start);
}

static void put_event(sail_buf *b, int64_t step, const char *const *tags, const double *values, size_t n)
{
    size_t start = open_record(b), summary = 0;
    put_double(b, 1, sail__wall_time());
    put_key(b, 2, VARINT);
    put_varint(b, (uint64_t)step);
    for (size_t i = 0; i < n; i++)
        summary += 1 + varint_size(value_size(tags[i])) + value_size(tags[i]);
    put_key(b, 5, BYTES);
    put_varint(b, summary);
    for (size_t i = 0; i < n; i++) {
        put_key(b, 1, BYTES);
        put_varint(b, value_size(tags[i]));
        put_value(b, tags[i], values[i]);
    }
    close_record(b, start);
}

/* ---- reading ---- */

typedef struct reader {
    const unsigned char *at, *end;
    bool bad;
} reader;

static uint64_t get_varint(reader *r)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            break;
        unsigned char c = *r->at++;
        v |= (uint64_t)(c & 127) << shift;
        if (c < 128)
            return v;
    }
    r->bad = true;
    return 0;
}

typedef struct field {
    int number, type;
    uint64_t value; /* VARINT, FIXED64, FIXED32 */
    reader bytes;   /* BYTES */
} field;

static bool next_field(reader *r, field *f)
{
    if (r->bad || r->at == r->end)
        return false;
    uint64_t key = get_varint(r);
    f->number = (int)(key >> 3);
    f->type = (int)(key & 7);
    size_t width = f->type == FIXED64 ? 8 : f->type == FIXED32 ? 4 : 0;
    if (f->type == VARINT) {
        f->value = get_varint(r);
    } else if (f->type == BYTES) {
        width = (size_t)get_varint(r);
        f->bytes = (reader){r->at, r->at + (width <= (size_t)(r->end - r->at) ? width : 0), false};
    } else if (!width) {
        r->bad = true;
    }
    if (r->bad || width > (size_t)(r->end - r->at)) {
        r->bad = true;
        return false;
    }
    if (f->type == FIXED64 || f->type == FIXED32)
        f->value = get_le(r->at, (int)width);
    r->at += width;
    return true;
}

static bool read_value(sail_arena *a, reader r, const char **tag, float *value)
{
    field f;
    *tag = NULL, *value = 0;
    while (next_field(&r, &f)) {
        if (f.number == 1 && f.type == BYTES)
            *tag = sail__arena_strndup(a, (const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at));
        if (f.number == 2 && f.type == FIXED32) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(value, &bits, sizeof bits);
        }
    }
    return !r.bad && *tag;
}

static bool read_summary(sail_arena *a, reader r, sail__tfevent *e)
{
    field f;
    reader count = r;
    size_t n = 0;
    while (next_field(&count, &f))
        n += f.number == 1 && f.type == BYTES;
    e->tags = sail__arena_array(a, n + 1, sizeof *e->tags);
    e->values = sail__arena_array(a, n + 1, sizeof *e->values);
    if (count.bad || !e->tags || !e->values)
        return false;
    for (e->n = 0; next_field(&r, &f);)
        if (f.number == 1 && f.type == BYTES && !read_value(a, f.bytes, &e->tags[e->n], &e->values[e->n]))
            return false;
        else
            e->n += f.number == 1 && f.type == BYTES;
    return true;
}

static bool read_event(sail_arena *a, reader r, sail__tfevent *e)
{
    field f;
    memset(e, 0, sizeof *e);
    while (next_field(&r, &f)) {
        if (f.number == 1 && f.type == FIXED64)
            memcpy(&e->wall_time, &f.value, sizeof f.value);
        if (f.number == 2 && f.type == VARINT)
            e->step = (int64_t)f.value;
        if (f.number == 3 && f.type == BYTES)
            e->file_version = sail__arena_strndup(a, (const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at));
        if (f.number == 5 && f.type == BYTES && !read_summary(a, f.bytes, e))
            return false;
    }
    return !r.bad;
}

/* The record at offset: its data, or false where what is left is not a whole record. */
static bool next_record(const sail_mapping *m, uint64_t offset, const unsigned char **data, uint64_t *n)
{
    if (m->size - offset < 16)
        return false;
    *n = get_le(m->data + offset, 8);
    if (*n > m->size - offset - 16)
        return false;
    *data = m->data + offset + 12;
    return true;
}

typedef struct record {
    sail__tfevent event;
    uint64_t offset, size; /* of the frame */
} record;

static sail_code read_records(sail_arena *a, const char *path, const sail_mapping *m, record **out, size_t *n, uint64_t *bytes,
                              sail_err *err)
{
    size_t cap = 0;
    uint64_t offset = 0, length;
    const unsigned char *data;
    while (m->data && next_record(m, offset, &data, &length)) {
        bool good = masked(m->data + offset, 8) == get_le(data - 4, 4) && masked(data, length) == get_le(data + length, 4);
        if (!good && offset + length + 16 == m->size)
            break; /* the last one, written in part */
        SAIL_TRY(sail__grow(out, &cap, *n + 1, sizeof **out, err));
        record *r = &(*out)[*n];
        if (!good || !read_event(a, (reader){data, data + length, false}, &r->event))
            return sail_fail(err, SAIL_E_FORMAT, "%s: damaged event record at byte %llu", path, (unsigned long long)offset);
        r->offset = offset;
        r->size = length + 16;
        offset += r->size;
        ++*n;
    }
    *bytes = offset;
    return SAIL_OK;
}

sail_code sail__tfevents_read(sail_arena *a, const char *path, sail__tfevent **out, size_t *n, uint64_t *bytes,
                              sail_err *err)
{
    sail_mapping m;
    record *records = NULL;
    uint64_t reach = 0;
    *out = NULL, *n = 0;
    SAIL_TRY(sail__file_map(path, &m, err));
    sail_code code = read_records(a, path, &m, &records, n, &reach, err);
    if (code == SAIL_OK && !(*out = sail__arena_array(a, *n + 1, sizeof **out)))
        code = sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; code == SAIL_OK && i < *n; i++)
        (*out)[i] = records[i].event;
    if (bytes)
        *bytes = reach;
    sail__free(records);
    sail__file_unmap(&m);
    return code;
}

/* ---- writing ---- */

/* Rewrite the file with the records up to `step`, beside and renamed. */
static sail_code cut_back(const char *path, int64_t step, sail_err *err)
{
    sail_mapping m;
    record *records = NULL;
    size_t n = 0;
    uint64_t reach = 0;
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    sail_code code = sail__file_map(path, &m, err);
    if (code == SAIL_OK) {
        sail_buf keep = {0};
        code = read_records(a, path, &m, &records, &n, &reach, err);
        for (size_t i = 0; code == SAIL_OK && i < n; i++)
            if (records[i].event.file_version || records[i].event.step <= step)
                sail__buf_add(&keep, m.data + records[i].offset, records[i].size);
        if (code == SAIL_OK && !keep.oom && keep.len == 0)
            put_version(&keep);
        if (code == SAIL_OK && keep.oom)
            code = sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
        if (code == SAIL_OK && (keep.len != m.size || memcmp(keep.data, m.data, keep.len) != 0))
            code = sail__file_write(path, keep.data, keep.len, err);
        sail__buf_free(&keep);
        sail__free(records);
        sail__file_unmap(&m);
    }
    sail__arena_free(a);
    return code;
}

/* The newest file of the label in dir; NULL if there is none. */
static sail_code find(sail_arena *a, const char *dir, const char *label, const char **path, sail_err *err)
{
    char **names = NULL;
    size_t n = 0;
    *path = NULL;
    SAIL_TRY(sail__list_dir(a, dir, &names, &n, err));
    const char *pattern = sail__arena_printf(a, "events.out.tfevents.*.sail.%s", label);
    for (size_t i = 0; i < n; i++)
        if (sail__glob_match(pattern, names[i]))
            *path = sail__path_join(a, dir, names[i]);
    return SAIL_OK;
}

static sail_code write_all(sail__tfevents *w, sail_err *err)
{
    if (w->record.oom)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", w->path);
    off_t whole = lseek(w->fd, 0, SEEK_END);
    for (size_t at = 0; at < w->record.len;) {
        ssize_t n = write(w->fd, w->record.data + at, w->record.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            sail_fail(err, SAIL_E_IO, "%s: %s", w->path, n < 0 ? strerror(errno) : "short write");
            if (at > 0 && whole >= 0 && ftruncate(w->fd, whole) != 0) /* else the next record would follow half of one */
                sail_fail_in(err, "cannot take back half a record");
            return err->code;
        }
        at += (size_t)n;
    }
    w->record.len = 0;
    return SAIL_OK;
}

static sail_code open_in(sail_arena *a, const char *dir, const char *label, int64_t step, sail__tfevents *w, sail_err *err)
{
    const char *path = NULL;
    SAIL_TRY(find(a, dir, label, &path, err));
    bool fresh = !path;
    if (fresh)
        path = sail__arena_printf(a, "%s/events.out.tfevents.%010lld.sail.%s", dir, (long long)sail__wall_time(), label);
    else
        SAIL_TRY(cut_back(path, step, err));
    if (!path || !(w->path = sail__strdup(path)))
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", dir);
    w->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return sail_fail(err, SAIL_E_IO, "%s: %s", path, strerror(errno));
    if (fresh)
        put_version(&w->record);
    return write_all(w, err);
}

sail_code sail__tfevents_open(const char *dir, const char *label, int64_t step, sail__tfevents **out, sail_err *err)
{
    *out = NULL;
    sail_arena *a = sail__arena_new();
    sail__tfevents *w = sail__calloc(1, sizeof *w);
    sail_code code = SAIL_OK;
    if (!a || !w)
        code = sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", dir);
    else {
        w->fd = -1;
        code = open_in(a, dir, label, step, w, err);
    }
    if (code == SAIL_OK)
        *out = w;
    else if (w) {
        sail_err ignored;
        w->record.len = 0;
        sail__tfevents_close(w, &ignored);
    }
    sail__arena_free(a);
    return code;
}

sail_code sail__tfevents_add(sail__tfevents *w, int64_t step, const char *const *tags, const double *values, size_t n,
                             sail_err *err)
{
    w->record.len = 0; /* what a failed write left is given up with its error */
    put_event(&w->record, step, tags, values, n);
    return write_all(w, err);
}

sail_code sail__tfevents_close(sail__tfevents *w, sail_err *err)
{
    if (!w)
        return SAIL_OK;
    sail_code code = SAIL_OK;
    if (w->fd >= 0 && fsync(w->fd) != 0 && errno != EINVAL)
        code = sail_fail(err, SAIL_E_IO, "%s: %s", w->path, strerror(errno));
    if (w->fd >= 0 && close(w->fd) != 0 && code == SAIL_OK)
        code = sail_fail(err, SAIL_E_IO, "%s: %s", w->path, strerror(errno));
    sail__buf_free(&w->record);
    sail__free(w->path);
    sail__free(w);
    return code;
}
