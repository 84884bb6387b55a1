/* data_unpack.c - the bytes of a file, unpacked: plain, gzip, zstd or xz, told apart by content. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "data_impl.h"

enum { PACKED = 1 << 17, WINDOW_LOG = 27 };
static const uint64_t lzma_memory = 96u << 20; /* xz -9 needs 65 MiB */

struct sail__unpack {
    char *path;
    FILE *file;
    enum { PLAIN, GZIP, ZSTD, XZ } kind;
    z_stream inflate; /* of GZIP */
    bool inflating;
    ZSTD_DCtx *zstd;
    lzma_stream xz;
    unsigned char *packed; /* bytes [at, n) of the file are not used yet */
    size_t n, at;
    bool file_end, inside, done; /* inside: a frame has begun and not ended */
};

static sail_code no_memory(sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

void sail__unpack_close(sail__unpack *u)
{
    if (!u)
        return;
    if (u->file)
        fclose(u->file);
    if (u->inflating)
        inflateEnd(&u->inflate);
    ZSTD_freeDCtx(u->zstd);
    lzma_end(&u->xz);
    sail__free(u->packed);
    sail__free(u->path);
    sail__free(u);
}

static sail_code fill(sail__unpack *u, sail_err *err)
{
    if (u->at < u->n || u->file_end)
        return SAIL_OK;
    u->n = fread(u->packed, 1, PACKED, u->file);
    u->at = 0;
    u->file_end = u->n == 0;
    return ferror(u->file) ? sail_fail(err, SAIL_E_IO, "%s: %s", u->path, strerror(errno)) : SAIL_OK;
}

/* What the first bytes say it is. They stay to be read: a pipe gives them once. */
static sail_code open_kind(sail__unpack *u, sail_err *err)
{
    static const struct {
        const char *magic;
        size_t n;
    } magics[] = {[GZIP] = {"\x1F\x8B", 2}, [ZSTD] = {"\x28\xB5\x2F\xFD", 4}, [XZ] = {"\xFD\x37zXZ\0", 6}};
    SAIL_TRY(fill(u, err));
    for (int k = GZIP; k <= XZ; k++)
        if (u->n >= magics[k].n && memcmp(u->packed, magics[k].magic, magics[k].n) == 0)
            u->kind = k;
    if (u->kind == GZIP) {
        u->inflating = inflateInit2(&u->inflate, 16 + MAX_WBITS) == Z_OK;
        return u->inflating ? SAIL_OK : no_memory(err);
    }
    if (u->kind == ZSTD) {
        u->zstd = ZSTD_createDCtx();
        if (!u->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, WINDOW_LOG)))
            return no_memory(err);
        return SAIL_OK;
    }
    if (u->kind == XZ && lzma_stream_decoder(&u->xz, lzma_memory, LZMA_CONCATENATED) != LZMA_OK)
        return no_memory(err);
    return SAIL_OK;
}

sail_code sail__unpack_open(const char *path, sail__unpack **out, sail_err *err)
{
    *out = NULL;
    struct stat st;
    if (stat(path, &st) != 0)
        return sail_fail(err, errno == ENOENT ? SAIL_E_NOTFOUND : SAIL_E_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return sail_fail(err, SAIL_E_IO, "%s: is a directory; name a file of rows", path);
    sail__unpack *u = sail__calloc(1, sizeof *u);
    if (!u || !(u->path = sail__strdup(path)) || !(u->packed = sail__malloc(PACKED))) {
        sail__unpack_close(u);
        return no_memory(err);
    }
    u->file = fopen(path, "rbe");
    const sail_code code = u->file ? open_kind(u, err) : sail_fail(err, SAIL_E_IO, "%s: %s", path, strerror(errno));
    if (code)
        sail__unpack_close(u);
    else
        *out = u;
    return code;
}

static sail_code damaged(const sail__unpack *u, const char *what, sail_err *err)
{
    return sail_fail(err, SAIL_E_FORMAT, "%s: cannot be unpacked: %s", u->path, what);
}

static sail_code read_plain(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err)
{
    SAIL_TRY(fill(u, err));
    *got = u->n - u->at < most ? u->n - u->at : most;
    memcpy(to, u->packed + u->at, *got);
    u->at += *got;
    return SAIL_OK;
}

/* Members one behind the other, zeros after the last; anything else there would be lost without a word by zlib's own reader. */
static sail_code read_gzip(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err)
{
    u->inflate.next_out = to;
    u->inflate.avail_out = (uInt)most;
    while (u->inflate.avail_out == most) {
        SAIL_TRY(fill(u, err));
        if (u->file_end && u->inside)
            return damaged(u, "compressed data ends too early", err);
        if (u->file_end)
            break;
        if (!u->inside && u->done && u->packed[u->at] == 0) {
            u->at++;
            continue;
        }
        if (!u->inside && u->done && (u->packed[u->at] != 0x1f || inflateReset(&u->inflate) != Z_OK))
            return damaged(u, "what follows the compressed data is not gzip", err);
        u->inflate.next_in = u->packed + u->at;
        u->inflate.avail_in = (uInt)(u->n - u->at);
        const int rc = inflate(&u->inflate, Z_NO_FLUSH);
        u->at = u->n - u->inflate.avail_in;
        u->inside = rc != Z_STREAM_END;
        u->done |= rc == Z_STREAM_END; /* a member has been read */
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return rc == Z_MEM_ERROR ? no_memory(err) : damaged(u, u->inflate.msg ? u->inflate.msg : "compressed data is damaged", err);
    }
    *got = most - u->inflate.avail_out;
    return SAIL_OK;
}

static sail_code read_zstd(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err)
{
    ZSTD_outBuffer out = {to, most, 0};
    while (out.pos == 0) {
        SAIL_TRY(fill(u, err));
        ZSTD_inBuffer in = {u->packed, u->n, u->at};
        if (u->file_end && !u->inside)
            break;
        size_t before = in.pos, rc = ZSTD_decompressStream(u->zstd, &out, &in);
        if (ZSTD_isError(rc))
            return damaged(u, ZSTD_getErrorName(rc), err);
        u->at = in.pos;
        u->inside = rc != 0;
        if (u->file_end && u->inside && out.pos == 0 && in.pos == before)
            return damaged(u, "compressed data ends too early", err);
    }
    *got = out.pos;
    return SAIL_OK;
}

static sail_code read_xz(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err)
{
    u->xz.next_out = to;
    u->xz.avail_out = most;
    while (u->xz.avail_out == most && !u->done) {
        SAIL_TRY(fill(u, err));
        u->xz.next_in = u->packed + u->at;
        u->xz.avail_in = u->n - u->at;
        lzma_ret rc = lzma_code(&u->xz, u->file_end ? LZMA_FINISH : LZMA_RUN);
        u->at = u->n - u->xz.avail_in;
        u->done = rc == LZMA_STREAM_END;
        if (rc == LZMA_OK || u->done)
            continue;
        return rc == LZMA_MEM_ERROR        ? no_memory(err)
               : rc == LZMA_MEMLIMIT_ERROR ? damaged(u, "it needs more than 96 MiB of memory; pack it with xz -9 or less", err)
               : rc == LZMA_BUF_ERROR      ? damaged(u, "compressed data ends too early", err)
                                           : damaged(u, "compressed data is damaged", err);
    }
    *got = most - u->xz.avail_out;
    return SAIL_OK;
}

sail_code sail__unpack_read(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err)
{
    *got = 0;
    return u->kind == PLAIN  ? read_plain(u, to, most, got, err)
           : u->kind == GZIP ? read_gzip(u, to, most, got, err)
           : u->kind == ZSTD ? read_zstd(u, to, most, got, err)
                             : read_xz(u, to, most, got, err);
}
