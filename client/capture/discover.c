/* SPDX-License-Identifier: Apache-2.0 */
/* Who belongs to the job: processes below its root, as they are born. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/proc.h"
#include "client/capture/processes.h"

struct process *process_find(const struct capture *cp, pid_t pid)
{
	struct process *p = cp->procs;

	while (p && p->pid != pid)
		p = p->next;
	return p;
}

static bool is_agent(const struct capture *cp, pid_t pid)
{
	for (const struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (sp->agent.ring && sp->agent.pid == pid)
			return true;
	return false;
}

/* It has that name from whoever made it, before it has said that it is there. */
static bool is_spare(const struct capture *cp, const struct proc_stat *st)
{
	return st->ppid == cp->header->supervisor_pid && !strcmp(st->comm, RUN_SPARE_NAME);
}

static bool is_skipped(const struct capture *cp, pid_t pid)
{
	for (unsigned int i = 0; i < RUN_SPARES; i++)
		if (cp->header->spare_pid[i] == pid)
			return true;
	for (size_t i = 0; i < sizeof(cp->skip) / sizeof(cp->skip[0]); i++)
		if (cp->skip[i] == pid)
			return true;
	return is_agent(cp, pid);
}

/* Is it the job's: below the root, and not below one of ours? */
static bool is_jobs(const struct capture *cp, pid_t pid, pid_t ppid)
{
	if (is_skipped(cp, pid))
		return false;
	if (pid == cp->root_pid)
		return cp->root_counts;
	return ppid == cp->root_pid || process_find(cp, ppid);
}

/* Its memory, and a word when it ends. */
static int watch(const struct capture *cp, struct process *p)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 1ULL << 32 | (uint32_t)p->pid};

	p->statm_fd = proc_open_statm(p->pid);
	if (p->statm_fd < 0)
		return p->statm_fd;
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0 || epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, p->pidfd, &ev))
		return -errno;
	return 0;
}

static int process_add(struct capture *cp, pid_t pid, const struct proc_stat *st)
{
	struct process *p = calloc(1, sizeof(*p));
	const struct process *parent = process_find(cp, st->ppid);
	int err;

	if (!p)
		return -ENOMEM;
	p->pid = pid;
	p->ppid = st->ppid;
	p->start_ticks = st->start_ticks;
	p->statm_fd = p->pidfd = -1;
	err = watch(cp, p);
	if (err) {
		if (p->statm_fd >= 0)
			close(p->statm_fd);
		if (p->pidfd >= 0)
			close(p->pidfd);
		free(p);
		return err;
	}
	if (!cp->kept->pidfd[pid % KEPT_PIDFDS])
		cp->kept->pidfd[pid % KEPT_PIDFDS] = p->pidfd;
	p->borrows = parent && proc_same_space(pid, parent->pid) == 1;
	if (p->borrows)
		p->space = parent->space;
	p->next = cp->procs;
	cp->procs = p;
	processes_forget_samples(cp);
	if (++cp->header->processes > cp->header->processes_peak)
		cp->header->processes_peak = cp->header->processes;
	return 0;
}

#define FULL_LOOK_NS 1000000000ULL

/*
 * Must /proc be looked at? When a task was made anywhere since the last look:
 * at the numbers given out since the look before that one (one may have been
 * given out and not be there yet); at all of them when the numbers began anew;
 * and once a second at all of them, while any were given out since the last
 * such look, or when the last look could not be finished. *@above: the highest
 * number that need not be looked at. 1, 0, or -errno.
 */
static int must_look(struct capture *cp, pid_t *above)
{
	uint64_t now = capture_now_ns();
	pid_t last = 0;
	unsigned int running;
	bool made, full;
	int err = proc_load(cp->loadavg_fd, &last, &running);

	if (err)
		return err;
	crowd_look(&cp->crowd, running);
	made = last != cp->last_pid;
	full = last < cp->last_pid || cp->look_at_all ||
	       ((made || cp->look_again) && now - cp->full_look_ns > FULL_LOOK_NS);
	*above = full ? 0 : cp->older_pid;
	if (full)
		cp->full_look_ns = now;
	if (made) { /* numbers that began anew are all above nothing */
		cp->older_pid = last < cp->last_pid ? 0 : cp->last_pid;
		cp->last_pid = last;
	}
	cp->look_again = made || (cp->look_again && !full);
	cp->look_at_all = false;
	return made || full;
}

/* A first thread that ended before others is a zombie as well. */
static bool is_over(const struct proc_stat *st)
{
	return st->state == 'X' || (st->state == 'Z' && st->nr_threads < 2);
}

/* Is it one more? 1, 0, or -errno: that can't be told. */
static int look_at(struct capture *cp, pid_t *pid)
{
	struct proc_stat st;
	int err = proc_stat(*pid, &st);

	if (!err && !is_over(&st)) {
		if (!is_jobs(cp, *pid, st.ppid) || !strcmp(st.comm, AGENT_NAME) ||
		    is_spare(cp, &st))
			return 0;
		err = process_add(cp, *pid, &st);
		if (!err)
			return 1;
	}
	*pid = 0; /* not looked at again */
	return err == -ESRCH || err == -EPERM || err == -EACCES ? 0 : err;
}

static int look_at_all(struct capture *cp, pid_t *pids, size_t nr)
{
	bool more = true;
	int err = 0;

	while (more) { /* a child may come before its parent in the list */
		more = false;
		for (size_t i = 0; i < nr; i++) {
			int is = !pids[i] || process_find(cp, pids[i]) ? 0 : look_at(cp, &pids[i]);

			more |= is > 0;
			err = is < 0 ? is : err;
		}
	}
	return err;
}

int processes_discover(struct capture *cp)
{
	pid_t *pids = NULL, above = 0;
	size_t nr = 0;
	int err = must_look(cp, &above);

	if (err <= 0)
		return err;
	err = proc_pids(&pids, &nr);
	for (size_t i = 0; i < nr; i++)
		if (pids[i] <= above)
			pids[i] = 0;
	if (!err)
		err = look_at_all(cp, pids, nr);
	free(pids);
	cp->look_at_all |= err != 0;
	return err;
}

int processes_discover_all(struct capture *cp)
{
	cp->look_at_all |= cp->look_again;
	return processes_discover(cp);
}
