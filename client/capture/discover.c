/* SPDX-License-Identifier: Apache-2.0 */
/* Who belongs to the job: processes below its root, as they are born. */
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

static bool is_skipped(const struct capture *cp, pid_t pid)
{
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

static void process_add(struct capture *cp, pid_t pid, const struct proc_stat *st)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct process *p = calloc(1, sizeof(*p));
	const struct process *parent = process_find(cp, st->ppid);

	if (!p)
		return;
	p->pid = pid;
	p->ppid = st->ppid;
	p->start_ticks = st->start_ticks;
	p->statm_fd = proc_open_statm(pid);
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->statm_fd < 0 || p->pidfd < 0) {
		if (p->statm_fd >= 0)
			close(p->statm_fd);
		if (p->pidfd >= 0)
			close(p->pidfd);
		free(p);
		return;
	}
	if (!cp->kept->pidfd[pid % KEPT_PIDFDS])
		cp->kept->pidfd[pid % KEPT_PIDFDS] = p->pidfd;
	ev.data.u64 = 1ULL << 32 | (uint32_t)pid;
	epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, p->pidfd, &ev);
	p->borrows = parent && proc_same_space(pid, parent->pid) == 1;
	if (p->borrows)
		p->space = parent->space;
	p->next = cp->procs;
	cp->procs = p;
	processes_forget_samples(cp);
	if (++cp->header->processes > cp->header->processes_peak)
		cp->header->processes_peak = cp->header->processes;
}

#define FULL_LOOK_NS 1000000000ULL

/* Agents, and much else, run for a moment; who wants a CPU all the time counts. */
static void note_running(struct capture *cp, unsigned int running)
{
	cp->running[cp->nr_looks++ % LOOKS] = running;
	cp->nr_running = running;
	for (unsigned int i = 0; i < LOOKS; i++)
		if (cp->running[i] < cp->nr_running)
			cp->nr_running = cp->running[i];
}

/*
 * Must /proc be looked at? When a task was made anywhere since the last look:
 * at the numbers given out since the look before that one (one may have been
 * given out and not be there yet); at all of them when the numbers began anew;
 * and once a second at all of them, while any were given out since the last
 * such look. *@above: the highest number that need not be looked at.
 */
static bool must_look(struct capture *cp, pid_t *above)
{
	uint64_t now = capture_now_ns();
	pid_t last = 0;
	unsigned int running;
	bool made, full;

	if (proc_load(cp->loadavg_fd, &last, &running))
		return false;
	note_running(cp, running);
	made = last != cp->last_pid;
	full = last < cp->last_pid ||
	       ((made || cp->look_again) && now - cp->full_look_ns > FULL_LOOK_NS);
	*above = full ? 0 : cp->older_pid;
	if (full)
		cp->full_look_ns = now;
	if (made) { /* numbers that began anew are all above nothing */
		cp->older_pid = last < cp->last_pid ? 0 : cp->last_pid;
		cp->last_pid = last;
	}
	cp->look_again = made || (cp->look_again && !full);
	return made || full;
}

/* A first thread that ended before others is a zombie as well. */
static bool is_over(const struct proc_stat *st)
{
	return st->state == 'X' || (st->state == 'Z' && st->nr_threads < 2);
}

void processes_discover(struct capture *cp)
{
	pid_t *pids = NULL, above;
	size_t nr = 0;
	bool more = true;

	if (!must_look(cp, &above) || proc_pids(&pids, &nr))
		return;
	for (size_t i = 0; i < nr; i++)
		if (pids[i] <= above)
			pids[i] = 0;
	while (more) { /* a child may come before its parent in the list */
		more = false;
		for (size_t i = 0; i < nr; i++) {
			struct proc_stat st;

			if (!pids[i] || process_find(cp, pids[i]))
				continue;
			if (proc_stat(pids[i], &st) || is_over(&st))
				pids[i] = 0;
			else if (is_jobs(cp, pids[i], st.ppid) && strcmp(st.comm, AGENT_NAME)) {
				process_add(cp, pids[i], &st);
				more = true;
			}
		}
	}
	free(pids);
}
