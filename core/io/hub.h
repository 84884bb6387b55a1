/* hub.h - models and data sets by name, hf:OWNER/NAME[@REVISION][/FILE], in the Hugging Face cache of the user.
 *
 * Floor: io. Threads: any. Ownership: strings are in the arena. Nothing here uses the network; hub_pull.h does.
 * The cache is huggingface_hub's: ROOT/models--OWNER--NAME (data sets: datasets--OWNER--NAME) with blobs/HASH,
 * refs/REVISION (a file that holds a commit) and snapshots/COMMIT/FILE, links to blobs. ROOT is HF_HUB_CACHE, or hub in
 * HF_HOME, or huggingface/hub in XDG_CACHE_HOME, or that in ~/.cache. */
#ifndef SAIL_HUB_H
#define SAIL_HUB_H

#include "../base/base.h"

typedef struct sail__hub_name {
    bool dataset;
    const char *repo;     /* "OWNER/NAME" */
    const char *revision; /* branch, tag or commit; "main" where none is given */
    const char *file;     /* path, pattern or part of a name; NULL: none given */
} sail__hub_name;

bool sail__hub_is_name(const char *text); /* begins with "hf:" */
/* [hf:[//]][datasets/]OWNER/NAME[@REVISION][/FILE]; SAIL_E_USAGE says what is wrong with it. */
sail_code sail__hub_parse(sail_arena *a, const char *text, sail__hub_name *out, sail_err *err);
/* As users write it, without hf: and FILE; "@main" is left out. */
const char *sail__hub_text(sail_arena *a, const sail__hub_name *n);

/* HF_HOME or what stands for it: the token lies there. */
sail_code sail__hub_home(sail_arena *a, const char **out, sail_err *err);
sail_code sail__hub_root(sail_arena *a, const char **out, sail_err *err);
const char *sail__hub_dir(sail_arena *a, const char *root, const sail__hub_name *n); /* ROOT/models--OWNER--NAME */
bool sail__hub_is_commit(const char *text); /* 40 hexadecimal digits */
/* The commit that a revision means in a repository's directory; NULL where it is not there. */
const char *sail__hub_commit(sail_arena *a, const char *dir, const char *revision);

/* The path that a name stands for: the snapshot's directory of a model, its only GGUF file where it has no config.json,
 * or FILE. A pattern of a data set stays one. SAIL_E_NOTFOUND says where it was looked for and which `sail pull`
 * fetches it. */
sail_code sail__hub_find(sail_arena *a, const char *text, const char **path, sail_err *err);
/* The repository, "OWNER/NAME", that a path of a cache belongs to; NULL: none. */
const char *sail__hub_repo_of(sail_arena *a, const char *path);
/* Of an error about a file below `path`: where that is a repository's, what fetches it is added. Returns err->code. */
sail_code sail__hub_advise(const char *path, sail_err *err);

/* All files below a snapshot by their path in it, in order; links that lead nowhere, too. */
sail_code sail__hub_files(sail_arena *a, const char *snapshot, const char ***files, size_t *n, sail_err *err);
/* FILE against a path: the same, a pattern (* and ?) of it or of its last part, or (neither) letters of it. */
bool sail__hub_matches(const char *wanted, const char *path);

#endif
