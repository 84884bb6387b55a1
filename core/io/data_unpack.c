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
    enum { EITHER, GZIP, ZSTD, XZ } kind; /* EITHER: plain text, or a pipe that may be gzip, too */
    gzFile gz;        /* of EITHER: zlib passes plain text through */
    z_stream inflate; /* of GZIP */
    bool inflating;
    ZSTD_DCtx *zstd;
    lzma_stream xz;
    unsigned char *packed;
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
    if (u->gz)
        gzclose(u->gz);
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

static sail_code open_kind(sail__unpack *u, const unsigned char *magic, size_t n, sail_err *err)
{
    if (n >= 4 && memcmp(magic, "\x28\xB5\x2F\xFD", 4) == 0)
        u->kind = ZSTD;
    else if (n >= 6 && memcmp(magic,
                              "\xFD"
                              "7zXZ\0",
                              6) == 0)
        u->kind = XZ;
    else if (n >= 2 && memcmp(magic, "\x1F\x8B", 2) == 0)
        u->kind = GZIP;
    if (u->kind == EITHER) {
        if (u->file)
            fclose(u->file);
        u->file = NULL;
        errno = 0;
        u->gz = gzopen(u->path, "rbe");
        if (!u->gz)
            return sail_fail(err, errno ? SAIL_E_IO : SAIL_E_NOMEM, "%s: %s", u->path, errno ? strerror(errno) : "out of memory");
        gzbuffer(u->gz, PACKED);
        return SAIL_OK;
    }
    rewind(u->file);
    if (!(u->packed = sail__malloc(PACKED)))
        return no_memory(err);
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
    return lzma_stream_decoder(&u->xz, lzma_memory, LZMA_CONCATENATED) == LZMA_OK ? SAIL_OK : no_memory(err);
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
    if (!u || !(u->path = sail__strdup(path))) {
        sail__unpack_close(u);
        return no_memory(err);
    }
    unsigned char magic[6];
    sail_code code;
    if (!S_ISREG(st.st_mode)) /* a pipe is read once: as it is, or gzip */
        code = open_kind(u, magic, 0, err);
    else if (!(u->file = fopen(path, "rbe")))
        code = sail_fail(err, SAIL_E_IO, "%s: %s", path, strerror(errno));
    else
        code = open_kind(u, magic, fread(magic, 1, sizeof magic, u->file), err);
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

static sail_code read_either(sail__unpack *u, unsigned char *to, size_t most, size_t *got, sail_err *err)
{
    int n = gzread(u->gz, to, (unsigned)most), zerr = Z_OK;
    const char *what = gzerror(u->gz, &zerr);
    if (n < 0 || (n == 0 && zerr != Z_OK && zerr != Z_STREAM_END)) {
        if (zerr == Z_ERRNO)
            return sail_fail(err, SAIL_E_IO, "%s: %s", u->path, strerror(errno));
        if (zerr == Z_MEM_ERROR)
            return no_memory(err);
        return damaged(u, zerr == Z_BUF_ERROR ? "compressed data ends too early" : what, err);
    }
    *got = (size_t)n;
    return SAIL_OK;
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
    return u->kind == EITHER ? read_either(u, to, most, got, err)
           : u->kind == GZIP ? read_gzip(u, to, most, got, err)
           : u->kind == ZSTD ? read_zstd(u, to, most, got, err)
                             : read_xz(u, to, most, got, err);
}
