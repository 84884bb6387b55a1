/* cache.c - what was compiled or tuned before, on disk, under the SHA-256 of all that it depends on.
 *
 * A file holds its key and the SHA-256 of its contents: one that is cut or changed is as if it were not there, and is written
 * anew. It is written beside its place and renamed, so that two processes at once leave one whole file of either. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sail/digest.h>

#include "opencl.h"

static const char magic[8] = "sailocl1";

static void add_text(sail_digest *s, const char *text)
{
    const uint64_t n = text ? strlen(text) : UINT64_MAX; /* lengths keep texts apart */
    sail_digest_add(s, &n, sizeof n);
    if (text)
        sail_digest_add(s, text, strlen(text));
}

void ocl_key_of(const sail_device *d, const char *const *texts, ocl_key *out)
{
    const ocl_facts *f = &d->facts;
    sail_digest s;
    sail_digest_begin(&s, SAIL_SHA256);
    add_text(&s, f->name);
    add_text(&s, f->vendor);
    add_text(&s, f->driver);
    add_text(&s, f->version);
    add_text(&s, f->platform_name);
    add_text(&s, f->platform_version);
    for (; *texts; texts++)
        add_text(&s, *texts);
    sail_digest_bytes(&s, out->hash);
}

static void path_of(const sail_device *d, const char *kind, const ocl_key *key, char out[4096])
{
    char hex[65];
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", key->hash[i]);
    snprintf(out, 4096, "%s/%s.%s", d->cache, hex, kind);
}

struct header {
    char magic[8];
    unsigned char key[32], hash[32];
    uint64_t bytes;
};

bool ocl_cache_get(const sail_device *d, const char *kind, const ocl_key *key, unsigned char **data, size_t *n)
{
    char path[4096];
    struct header h;
    unsigned char hash[32];
    struct stat st;
    if (!d->cache)
        return false;
    path_of(d, kind, key, path);
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    unsigned char *p = NULL;
    bool good = fread(&h, sizeof h, 1, f) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 && memcmp(h.key, key->hash, 32) == 0 &&
                fstat(fileno(f), &st) == 0 && h.bytes > 0 && (uint64_t)st.st_size == sizeof h + h.bytes &&
                (p = malloc((size_t)h.bytes)) != NULL && fread(p, (size_t)h.bytes, 1, f) == 1;
    fclose(f);
    if (good) {
        sail_digest s;
        sail_digest_begin(&s, SAIL_SHA256);
        sail_digest_add(&s, p, (size_t)h.bytes);
        sail_digest_bytes(&s, hash);
        good = memcmp(hash, h.hash, 32) == 0;
    }
    if (!good) {
        free(p);
        sail_log(d->ctx, SAIL_LOG_WARN, "opencl: %s is damaged; it is made anew", path);
        return false;
    }
    *data = p;
    *n = (size_t)h.bytes;
    return true;
}

static void make_dirs(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", dir);
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(path, 0777);
            *p = '/';
        }
    mkdir(path, 0777);
}

void ocl_cache_put(const sail_device *d, const char *kind, const ocl_key *key, const unsigned char *data, size_t n)
{
    char path[4096], fresh[4160];
    struct header h;
    if (!d->cache || n == 0)
        return;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.key, key->hash, 32);
    h.bytes = n;
    sail_digest s;
    sail_digest_begin(&s, SAIL_SHA256);
    sail_digest_add(&s, data, n);
    sail_digest_bytes(&s, h.hash);
    path_of(d, kind, key, path);
    snprintf(fresh, sizeof fresh, "%s.XXXXXX", path);
    int fd = mkstemp(fresh);
    if (fd < 0 && errno == ENOENT) {
        make_dirs(d->cache);
        snprintf(fresh, sizeof fresh, "%s.XXXXXX", path);
        fd = mkstemp(fresh);
    }
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    bool good = f && fwrite(&h, sizeof h, 1, f) == 1 && fwrite(data, n, 1, f) == 1;
    if (f)
        good = fclose(f) == 0 && good;
    else if (fd >= 0)
        close(fd);
    if (fd >= 0 && (!good || rename(fresh, path) != 0)) {
        unlink(fresh);
        good = false;
    }
    if (!good)
        sail_log(d->ctx, SAIL_LOG_DEBUG, "opencl: %s cannot be written (%s); programs are compiled at each start", path, strerror(errno));
}
