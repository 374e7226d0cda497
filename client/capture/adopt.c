/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a dead pager has left: its spaces are in shared memory, their descriptors in the
 * table that it shared with the supervisor, and its core was taken over as it was at the
 * last commit. What is asked here of each space is how far that and what agents were told
 * are apart, by a few words (agent_post() and reap_one() write them in this order).
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/proc.h"
#include "client/capture/processes.h"
#include "client/capture/uffd.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define USER_END (1ULL << 47)

/* ---- descriptors ---- */

/* BPF programs answer to a pager that is dead; files of /proc are opened anew. */
static bool is_left_over(const char *what)
{
	static const char *const tail[] = {"/statm", "/pagemap", "/proc/loadavg", "/proc/kallsyms"};

	if (!strncmp(what, "anon_inode:bpf", 14) || !strcmp(what, "anon_inode:btf") ||
	    !strcmp(what, "/sys/kernel/btf/vmlinux"))
		return true;
	for (size_t i = 0; i < sizeof(tail) / sizeof(tail[0]); i++) {
		size_t bytes = strlen(what), end = strlen(tail[i]);

		if (!strncmp(what, "/proc/", 6) && bytes >= end &&
		    !strcmp(what + bytes - end, tail[i]))
			return true;
	}
	return false;
}

/* Those of processes have no name that tells them from others. */
static void close_pidfds(struct capture *cp)
{
	for (unsigned int i = 0; i < KEPT_PIDFDS; i++) {
		int fd = cp->kept->pidfd[i];

		cp->kept->pidfd[i] = 0; /* first: its number may soon be another's */
		if (fd > 0)
			close(fd);
	}
}

static void close_left_over(const struct capture *cp)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	char what[64];

	while (dir && (e = readdir(dir))) {
		int fd = atoi(e->d_name);
		ssize_t n = readlinkat(dirfd(dir), e->d_name, what, sizeof(what) - 1);

		if (n <= 0 || fd == cp->loadavg_fd)
			continue;
		what[n] = '\0';
		if (is_left_over(what))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* ---- one space ---- */

static bool is_outstanding(const struct aspace *sp, unsigned int at)
{
	return sp->cmd[at % AGENT_SLOTS].used &&
	       __atomic_load_n(&sp->agent.ring->cmd[at % AGENT_SLOTS].state, __ATOMIC_ACQUIRE) !=
		       AGENT_FREE;
}

static void consume(struct aspace *sp)
{
	unsigned int slot = sp->take++ % AGENT_SLOTS;

	sp->cmd[slot].used = false;
	__atomic_store_n(&sp->agent.ring->cmd[slot].state, AGENT_FREE, __ATOMIC_RELEASE);
}

/* What lies between take and post, and nothing else, was asked and is not answered. */
static void mend_ring(struct aspace *sp)
{
	struct agent_ring *ring = sp->agent.ring;

	sp->coming[0] = sp->coming[1] = 0; /* an answer may be known already */
	if (sp->take != sp->post && !sp->cmd[sp->take % AGENT_SLOTS].used)
		sp->take++;
	if (sp->post - sp->take < AGENT_SLOTS && is_outstanding(sp, sp->post))
		sp->post++;
	for (unsigned int at = sp->post; at != sp->take + AGENT_SLOTS; at++) {
		sp->cmd[at % AGENT_SLOTS].used = false;
		__atomic_store_n(&ring->cmd[at % AGENT_SLOTS].state, AGENT_FREE, __ATOMIC_RELEASE);
	}
	for (unsigned int at = sp->take; at != sp->post; at++)
		sp->cmd[at % AGENT_SLOTS].since_ns = capture_now_ns();
	if (write(sp->wake_fd, "w", 1) < 0 && errno != EAGAIN)
		log_debug("an agent can't be woken: %s", strerror(errno));
}

static bool awaited(const struct capture *cp, const struct aspace *sp, const struct command *cmd)
{
	switch (cmd->op) {
	case AGENT_MOVE:
		return core_half(cp->core, sp->id, cmd->half) == HALF_ASKED;
	case AGENT_PLACE:
		return core_awaits_place(cp->core, sp->id);
	case AGENT_POPULATE:
		return core_awaits_populate(cp->core, sp->id);
	default:
		return true;
	}
}

static bool has_asked(const struct aspace *sp, enum agent_op op, unsigned int half)
{
	for (unsigned int at = sp->take; at != sp->post; at++) {
		const struct command *cmd = &sp->cmd[at % AGENT_SLOTS];

		if (cmd->op == op && (op != AGENT_MOVE || cmd->half == half))
			return true;
	}
	return false;
}

/* Answers that the core has had are not given again, and what nobody was asked for is
 * answered: nothing was done. */
static void mend_answers(struct capture *cp, struct aspace *sp)
{
	static const pageset none;

	while (sp->take != sp->post && !awaited(cp, sp, &sp->cmd[sp->take % AGENT_SLOTS]))
		consume(sp);
	for (unsigned int h = 0; h < CORE_HALVES; h++) {
		enum core_half half = core_half(cp->core, sp->id, h);

		sp->drop[h] = half == HALF_FREE && !has_asked(sp, AGENT_MOVE, h);
		if (half == HALF_ASKED && !has_asked(sp, AGENT_MOVE, h))
			core_moved(cp->core, sp->id, h, &none, &none, &none, &none, true);
	}
	if (core_awaits_populate(cp->core, sp->id) && !has_asked(sp, AGENT_POPULATE, 0))
		core_populated(cp->core, sp->id, 0, -EAGAIN);
	if (core_awaits_place(cp->core, sp->id) && !has_asked(sp, AGENT_PLACE, 0))
		core_placed(cp->core, sp->id, &none, &none, true);
}

static int adopt_agent(struct capture *cp, struct aspace *sp)
{
	sp->agent.ring = agent_map(sp->agent.ring_fd);
	if (!sp->agent.ring)
		return err_set(-errno, "an agent's ring can't be mapped: %s", strerror(errno));
	mend_ring(sp);
	mend_answers(cp, sp);
	return 0;
}

/* A fork of which the core has not heard will be given in again. */
static bool is_in_journal(const struct capture *cp, const struct aspace *sp)
{
	const struct journal *j = cp->journal;

	for (uint32_t i = 0; j->nr && i < JOURNAL_MSGS && j->msg[i].event; i++)
		if (j->msg[i].event == UFFD_EVENT_FORK && (int)j->msg[i].arg.fork.ufd == sp->uffd)
			return true;
	return false;
}

/* Its memory lives as long as its agent. What that was asked for is answered, or the core
 * would wait with the rest. */
static void bury(struct capture *cp, struct aspace *sp)
{
	static const pageset none;
	bool asked[CORE_HALVES], populates = core_awaits_populate(cp->core, sp->id);
	bool places = core_awaits_place(cp->core, sp->id);
	struct proc_stat st;
	int uffd = sp->uffd;

	if (sp->agent.pid && !proc_stat(sp->agent.pid, &st) && !strcmp(st.comm, AGENT_NAME))
		kill(sp->agent.pid, SIGKILL);
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		asked[h] = core_half(cp->core, sp->id, h) == HALF_ASKED;
	core_space_gone(cp->core, sp->id);
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		if (asked[h])
			core_moved(cp->core, sp->id, h, &none, &none, &none, &none, false);
	if (populates)
		core_populated(cp->core, sp->id, 0, -ESRCH);
	if (places)
		core_placed(cp->core, sp->id, &none, &none, false);
	core_commit(cp->core);
	if (uffd >= 0 && (sp->dead || !uffd_alive(uffd)) && !is_in_journal(cp, sp) &&
	    !injector_has_fd(cp, uffd)) { /* else it is closed with what was made */
		sp->uffd = -1;
		close(uffd);
	}
	sp->used = false;
}

static int adopt_space(struct capture *cp, struct aspace *sp)
{
	bool known = core_space_known(cp->core, sp->id), has_agent = sp->agent.ring;
	const struct journal *j = cp->journal;
	int err = 0, watch;

	sp->agent.ring = NULL;
	sp->keep = NULL;
	sp->nr_keep = 0;
	sp->keep_ns = 0;
	sp->wiped = NULL;
	sp->nr_wiped = 0;
	sp->wiped_known = false;
	sp->asked = sp->wanted = injector_has(cp, 0, sp->id);
	sp->stuck = false;
	if (injector_has_made(cp, sp)) { /* and it is taken from there, once more */
		sp->agent = (struct agent){0};
		has_agent = false;
		if (!known) {
			sp->used = false;
			return 0;
		}
	}
	if (sp->dead || !uffd_alive(sp->uffd) ||
	    (!known && (!has_agent || is_in_journal(cp, sp)))) {
		bury(cp, sp);
		return 0;
	}
	if (j->nr && j->space == sp->id.v && j->nr_wiped <= JOURNAL_WIPED) {
		sp->wiped = calloc(j->nr_wiped + 1, sizeof(*sp->wiped));
		sp->wiped_known = sp->wiped;
		sp->nr_wiped = sp->wiped ? j->nr_wiped : 0;
		for (size_t i = 0; i < sp->nr_wiped; i++)
			sp->wiped[i] = j->wiped[i];
	}
	if (!known && core_space_add(cp->core, sp->id))
		return err_set(-ENOMEM, "no memory for an address space");
	sp->next = cp->spaces;
	cp->spaces = sp;
	if (has_agent)
		err = adopt_agent(cp, sp);
	if (sp->pid || has_agent)
		sp->pagemap_fd = proc_open_pagemap(has_agent ? sp->agent.pid : sp->pid);
	if (!err && sp->pagemap_fd < 0 && sp->pagemap_fd != -ESRCH && (sp->pid || has_agent))
		err = err_set(sp->pagemap_fd, "a space's pages can't be looked at: %s",
			      strerror(-sp->pagemap_fd));
	if (!err && (watch = aspace_watch(cp, sp)))
		err = err_set(watch, "a space can't be watched: %s", strerror(-watch));
	if (err)
		return err;
	if (has_agent && !sp->unproven)
		core_agent_ready(cp->core, sp->id);
	sp->readable = sp->maps_dirty = sp->unsettled = true;
	return 0;
}

/* ---- all ---- */

static int adopt_processes(struct capture *cp)
{
	int err;

	cp->header->processes = cp->header->unmanaged = cp->header->managed = 0;
	err = processes_discover(cp);
	if (err) /* whose a space is would be guessed */
		return err_set(err, "the job's processes can't be listed: %s", strerror(-err));
	for (struct process *p = cp->procs; p; p = p->next)
		if (injector_has(cp, p->pid, (space_id){0}))
			p->state = PROC_ASKED;
	for (struct aspace *sp = cp->spaces; sp; sp = sp->next) {
		struct process *p = sp->pid ? process_find(cp, sp->pid) : NULL;

		if (!p) {
			sp->pid = 0;
			continue;
		}
		p->space = sp;
		p->state = PROC_MANAGED;
		p->borrows = false;
		cp->header->managed++;
	}
	return 0;
}

int capture_adopt(struct capture *cp)
{
	struct run_table *table = (struct run_table *)((char *)cp->header + RUN_TABLE_OFF);
	int err = 0;

	table->seq += table->seq & 1; /* it was being written */
	close_left_over(cp);
	close_pidfds(cp);
	cp->header->agents = 0;
	cp->header->fast = RUN_FAST_NOT_YET;
	for (unsigned int i = 0; i < KEPT_SPACES && !err; i++)
		if (cp->kept->space[i].used)
			err = adopt_space(cp, &cp->kept->space[i]);
	if (err)
		return err;
	err = adopt_processes(cp);
	if (err)
		return err;
	messages_again(cp);
	for (struct aspace *sp = cp->spaces; sp; sp = sp->next) {
		cp->header->agents += sp->agent.ring != NULL;
		cp->nr_bounces += sp->bounces;
		uffd_wake(sp->uffd, PAGE_BYTES, USER_END - 2 * PAGE_BYTES);
		if (sp->agent.ring && sp->pid && !sp->unproven)
			aspace_register(cp, sp);
	}
	core_commit(cp->core);
	return 0;
}
