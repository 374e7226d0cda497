/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job as a tree of processes: who is below a given process, and how to
 * end all of them. Found by parent pids in /proc. Below the supervisor, which
 * is a subreaper, nobody can get out of the tree by outliving his parent.
 */
#ifndef RMEM_CLIENT_JOBTREE_H
#define RMEM_CLIENT_JOBTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct jobtree {
	pid_t root;	   /* whose descendants */
	bool with_root;	   /* is the root one of them? */
	const pid_t *skip; /* these, and who is below them, are not the job's */
	size_t nr_skip;
	const pid_t *also; /* these, and who is below them, are the job's */
	size_t nr_also;
};

/* Descendants that have not ended. Returns owned array (free()). 0 or -errno. */
int jobtree_list(const struct jobtree *t, pid_t **out, size_t *nr);

/* How many direct children does the root have, ended ones included? With
 * @only_name, 0 unless all of them have this name. -errno on failure. */
int jobtree_children(const struct jobtree *t, const char *only_name);

/* SIGSTOP until nobody new appears, then SIGKILL until nobody is left;
 * calls @reap(ctx), unless NULL, between the rounds. 0, or -ETIMEDOUT. */
int jobtree_kill(const struct jobtree *t, unsigned int timeout_ms, void (*reap)(void *ctx),
		 void *ctx);

#endif
