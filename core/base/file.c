/* file.c - reading, mapping, paths, directories, clocks. Atomic writing is in atomic.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

static sail_code failed(sail_err *err, const char *what, const char *path, int number)
{
    sail_code code = number == ENOENT || number == ENOTDIR ? SAIL_E_NOTFOUND : number == ENOMEM ? SAIL_E_NOMEM : SAIL_E_IO;
    return sail_fail(err, code, "%s: cannot %s: %s", path, what, strerror(number));
}

static sail_code open_file(const char *path, int *fd, struct stat *st, sail_err *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return failed(err, "open", path, errno);
    if (fstat(*fd, st) != 0) {
        int number = errno;
        close(*fd);
        return failed(err, "look at", path, number);
    }
    if (S_ISDIR(st->st_mode)) {
        close(*fd);
        return sail_fail(err, SAIL_E_IO, "%s: is a directory, a file is wanted", path);
    }
    return SAIL_OK;
}

sail_code sail__file_map(const char *path, sail_mapping *out, sail_err *err)
{
    *out = (sail_mapping){0};
    int fd;
    struct stat st;
    SAIL_TRY(open_file(path, &fd, &st, err));
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return sail_fail(err, SAIL_E_IO, "%s: cannot be mapped: not a regular file", path);
    }
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            int number = errno;
            close(fd);
            return failed(err, "map", path, number);
        }
        out->data = p;
        out->size = (size_t)st.st_size;
    }
    close(fd);
    return SAIL_OK;
}

void sail__file_unmap(sail_mapping *m)
{
    if (m->data)
        munmap((void *)m->data, m->size);
    *m = (sail_mapping){0};
}

sail_code sail__file_read(const char *path, size_t most, char **data, size_t *size, sail_err *err)
{
    *data = NULL, *size = 0;
    int fd;
    struct stat st;
    SAIL_TRY(open_file(path, &fd, &st, err));
    char *text = NULL;
    size_t cap = 0, len = 0;
    sail_code code = SAIL_OK;
    if (S_ISREG(st.st_mode) && (uintmax_t)st.st_size > most)
        code = sail_fail(err, SAIL_E_LIMIT, "%s: %jd bytes, at most %zu are read", path, (intmax_t)st.st_size, most);
    /* one byte more than its size, so that the end of a regular file is seen without growing */
    size_t room = S_ISREG(st.st_mode) ? (size_t)st.st_size + 2 : 65536;
    while (code == SAIL_OK) {
        if (cap - len < 2 && (code = sail__grow(&text, &cap, len + room, 1, err)) != SAIL_OK) {
            sail_fail_in(err, "%s", path);
            break;
        }
        ssize_t n = read(fd, text + len, cap - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            code = failed(err, "read", path, errno);
        if (n <= 0)
            break;
        len += (size_t)n;
        if (len > most)
            code = sail_fail(err, SAIL_E_LIMIT, "%s: more than %zu bytes, the most that are read", path, most);
    }
    close(fd);
    if (code != SAIL_OK) {
        sail__free(text);
        return code;
    }
    text[len] = '\0';
    *data = text, *size = len;
    return SAIL_OK;
}

bool sail__file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool sail__is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

sail_code sail__make_dirs(const char *path, sail_err *err)
{
    char *copy = path ? sail__strdup(path) : NULL;
    if (!copy)
        return sail_fail(err, SAIL_E_NOMEM, "no memory to make the directory%s%s", path ? " " : "", path ? path : "");
    sail_code code = SAIL_OK;
    for (char *p = copy; code == SAIL_OK && *p;) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char c = *p;
        *p = '\0';
        if (*copy && mkdir(copy, 0777) != 0) {
            int number = errno;
            if (!sail__is_dir(copy)) /* whatever mkdir said: EEXIST, or EROFS for one that is there */
                code = number == EEXIST ? sail_fail(err, SAIL_E_IO, "%s: cannot make the directory: %s is a file", path, copy)
                                        : sail_fail(err, SAIL_E_IO, "%s: cannot make the directory %s: %s", path, copy,
                                                    strerror(number));
        }
        *p = c;
    }
    sail__free(copy);
    return code;
}

/* Empties and removes the directory `name` in `at`. Returns 0 or an errno. */
static int remove_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    DIR *d = fdopendir(fd);
    if (!d) {
        int number = errno;
        close(fd);
        return number;
    }
    int number = 0;
    struct dirent *e;
    while (number == 0 && (errno = 0, e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) != 0 && errno != ENOENT)
            number = errno == EISDIR || errno == EPERM ? remove_dir(fd, e->d_name) : errno;
    }
    if (number == 0)
        number = errno;
    closedir(d);
    if (number == 0 && unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        number = errno;
    return number;
}

sail_code sail__remove_tree(const char *path, sail_err *err)
{
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for the name of a directory");
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
        return SAIL_OK;
    int number = errno;
    if (number == EISDIR || number == EPERM)
        number = remove_dir(AT_FDCWD, path);
    return number == 0 || number == ENOENT ? SAIL_OK : failed(err, "remove", path, number);
}

/* ---- paths ---- */

char *sail__path_join(sail_arena *a, const char *dir, const char *name)
{
    if (!dir || !name) /* an earlier join found no memory */
        return NULL;
    if (name[0] == '~' && (name[1] == '/' || name[1] == '\0')) {
        const char *home = getenv("HOME");
        return home && *home ? sail__arena_printf(a, "%s%s", home, name + 1) : sail__arena_strdup(a, name);
    }
    if (name[0] == '/' || !*dir || strcmp(dir, ".") == 0)
        return sail__arena_strdup(a, name);
    return sail__arena_printf(a, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name);
}

char *sail__path_dir(sail_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return sail__arena_strdup(a, ".");
    return sail__arena_strndup(a, path, slash == path ? 1 : (size_t)(slash - path));
}

const char *sail__path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sail_code sail__list_dir(sail_arena *a, const char *path, char ***names, size_t *n, sail_err *err)
{
    *names = NULL, *n = 0;
    DIR *d = opendir(path);
    if (!d)
        return failed(err, "read the directory", path, errno);
    char **items = NULL;
    size_t count = 0, cap = 0;
    sail_code code = SAIL_OK;
    struct dirent *e;
    while (code == SAIL_OK && (errno = 0, e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        code = sail__grow(&items, &cap, count + 1, sizeof *items, err);
        char *name = code == SAIL_OK ? sail__arena_strdup(a, e->d_name) : NULL;
        if (name)
            items[count++] = name;
        else
            code = sail_fail(err, SAIL_E_NOMEM, "%s: no memory for the list of its files", path);
    }
    if (code == SAIL_OK && errno != 0)
        code = failed(err, "read the directory", path, errno);
    closedir(d);
    if (code == SAIL_OK) {
        if (count)
            qsort(items, count, sizeof *items, by_name);
        *names = sail__arena_array(a, count, sizeof *items);
        if (*names && count)
            memcpy(*names, items, count * sizeof *items);
        *n = count;
        if (!*names)
            code = sail_fail(err, SAIL_E_NOMEM, "%s: no memory for the list of its files", path);
    }
    sail__free(items);
    return code;
}

/* ---- clocks and memory ---- */

static double clock_seconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double sail__now(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double sail__wall_time(void)
{
    return clock_seconds(CLOCK_REALTIME);
}

double sail__rss_peak_mib(void)
{
    /* VmHWM rather than getrusage, whose figure a program inherits from the one that started it */
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    struct rusage r;
    if (kib < 0 && getrusage(RUSAGE_SELF, &r) == 0)
        kib = r.ru_maxrss;
    return kib < 0 ? 0.0 : (double)kib / 1024.0;
}
