/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobtree: descendants by a walk over /proc, and their end.
 *
 * The walk is not a snapshot. A process that changes its parent during it may
 * be missed, so nothing here concludes from one walk that a tree is empty,
 * except jobtree_children(): whoever is a child of the caller stays one until
 * the caller reaps him, and the caller doesn't while he walks.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/capture/proc.h"
#include "client/jobtree.h"

struct node {
	pid_t pid, ppid;
	bool ended, in;
	char comm[16];
};

struct walk {
	struct node *node;
	size_t nr;
};

static bool is_one_of(pid_t pid, const pid_t *list, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (list[i] == pid)
			return true;
	return false;
}

static bool is_skipped(const struct jobtree *t, pid_t pid)
{
	return is_one_of(pid, t->skip, t->nr_skip);
}

/* A first thread that ended shows as a zombie while others still run. */
static bool has_ended(pid_t pid, char state)
{
	pid_t *tid = NULL;
	size_t nr = 0;

	if (state != 'Z' && state != 'X')
		return false;
	if (proc_tids(pid, &tid, &nr))
		return true;
	free(tid);
	return nr <= 1;
}

static int walk_open(struct walk *w)
{
	pid_t *pid = NULL;
	size_t nr = 0;
	int err = proc_pids(&pid, &nr);

	if (err)
		return err;
	w->nr = 0;
	w->node = calloc(nr + 1, sizeof(*w->node));
	if (!w->node) {
		free(pid);
		return -ENOMEM;
	}
	for (size_t i = 0; i < nr; i++) {
		struct node *n = &w->node[w->nr];
		struct proc_stat st;

		err = proc_stat(pid[i], &st);
		/* Who is another user's may not be looked at where /proc is mounted so. */
		if (err == -ESRCH || err == -EPERM || err == -EACCES) {
			err = 0;
			continue;
		}
		if (err)
			break;
		n->pid = pid[i];
		n->ppid = st.ppid;
		n->ended = has_ended(pid[i], st.state);
		memcpy(n->comm, st.comm, sizeof(n->comm));
		w->nr++;
	}
	free(pid);
	if (!err)
		return 0;
	free(w->node); /* who was not looked at may be one of the tree */
	return err;
}

static bool is_root(const struct jobtree *t, pid_t pid)
{
	return (t->with_root && pid == t->root) || is_one_of(pid, t->also, t->nr_also);
}

static bool parent_is_in(const struct jobtree *t, const struct walk *w, const struct node *n)
{
	if (n->ppid == t->root)
		return true;
	for (size_t i = 0; i < w->nr; i++)
		if (w->node[i].pid == n->ppid)
			return w->node[i].in;
	return false;
}

/* Marks the descendants; a child may have a lower pid than its parent. */
static size_t walk_mark(const struct jobtree *t, struct walk *w)
{
	size_t in = 0;
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = 0; i < w->nr; i++) {
			struct node *n = &w->node[i];

			if (n->in || is_skipped(t, n->pid))
				continue;
			if (!is_root(t, n->pid) && !parent_is_in(t, w, n))
				continue;
			n->in = again = true;
			in++;
		}
	}
	return in;
}

int jobtree_list(const struct jobtree *t, pid_t **out, size_t *nr)
{
	struct walk w;
	size_t in;
	int err = walk_open(&w);

	*out = NULL;
	*nr = 0;
	if (err)
		return err;
	in = walk_mark(t, &w);
	*out = calloc(in + 1, sizeof(**out));
	if (*out)
		for (size_t i = 0; i < w.nr; i++)
			if (w.node[i].in && !w.node[i].ended)
				(*out)[(*nr)++] = w.node[i].pid;
	free(w.node);
	return *out ? 0 : -ENOMEM;
}

int jobtree_children(const struct jobtree *t, const char *only_name)
{
	struct walk w;
	int nr = 0, named = 0;
	int err = walk_open(&w);

	if (err)
		return err;
	for (size_t i = 0; i < w.nr; i++) {
		if (w.node[i].ppid != t->root || is_skipped(t, w.node[i].pid))
			continue;
		nr++;
		if (only_name && !strncmp(w.node[i].comm, only_name, sizeof(w.node[i].comm)))
			named++;
	}
	free(w.node);
	return only_name && named < nr ? 0 : nr;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void signal_all(const pid_t *pid, size_t nr, int sig)
{
	for (size_t i = 0; i < nr; i++)
		kill(pid[i], sig);
}

/* Stopped processes can't fork, so the second equal list is all of them. */
static int stop_all(const struct jobtree *t, pid_t **all, size_t *nr)
{
	size_t before = SIZE_MAX;
	int err;

	*all = NULL;
	*nr = 0;
	for (int round = 0; round < 50 && *nr != before; round++) {
		before = *nr;
		free(*all);
		err = jobtree_list(t, all, nr);
		if (err)
			return err;
		signal_all(*all, *nr, SIGSTOP);
	}
	return 0;
}

int jobtree_kill(const struct jobtree *t, unsigned int timeout_ms, void (*reap)(void *ctx),
		 void *ctx)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t end_ms = now_ms() + timeout_ms;
	pid_t *all;
	size_t nr;
	int err = stop_all(t, &all, &nr);

	/* Where they can't be listed now they may be a moment later. */
	while (err || nr) {
		signal_all(all, nr, SIGKILL);
		free(all);
		nanosleep(&pause, NULL);
		if (reap)
			reap(ctx);
		err = jobtree_list(t, &all, &nr);
		if ((err || nr) && now_ms() > end_ms) {
			free(all);
			return err ? err : -ETIMEDOUT;
		}
	}
	free(all);
	return 0;
}
