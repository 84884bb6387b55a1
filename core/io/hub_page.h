/* hub_page.h - what a hub says of a repository, read as what anybody may have sent.
 *
 * Floor: io. Threads: any. Strings of what is read stay the nodes'. `endpoint` names the hub in messages; every fault is SAIL_E_IO. */
#ifndef SAIL_HUB_PAGE_H
#define SAIL_HUB_PAGE_H

#include "../base/node.h"
#include "hub_remote.h"

/* The commit of a revision's answer. */
sail_code sail__hub_page_commit(const char *endpoint, const sail_node *revision, const char **commit, sail_err *err);
/* The files that a page of a tree's answer names, behind the *n that *files (sail__grow, *cap) holds. A path that would leave the directory it
 * is put into, or a hash that is none, is refused. */
sail_code sail__hub_page(const char *endpoint, const sail_node *list, sail__hub_file **files, size_t *n, size_t *cap, sail_err *err);
/* <URL>; rel="next" of a Link header; NULL: that was the last page, or no memory. */
const char *sail__hub_next_page(sail_arena *a, const char *link);
/* The answer is none of a hub. */
sail_code sail__hub_strange(const char *endpoint, const char *what, sail_err *err);

#endif
