/* SPDX-License-Identifier: Apache-2.0 */
/* The job's address spaces and the commands that their agents carry out. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/fast.h"
#include "client/capture/proc.h"
#include "client/capture/take.h"
#include "common/base/log.h"

#define COMMAND_TIMEOUT_NS 10000000000ULL

uint64_t capture_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

struct aspace *aspace_find(const struct capture *cp, space_id id)
{
	struct aspace *sp = cp->spaces;

	while (sp && sp->id.v != id.v)
		sp = sp->next;
	return sp;
}

/* In shared memory as long as there is room: another pager can't know of others. */
static struct aspace *aspace_get(struct capture *cp)
{
	struct capture_kept *kept = cp->kept;

	for (unsigned int n = 0; n < KEPT_SPACES; n++) {
		struct aspace *sp = &kept->space[kept->hint++ % KEPT_SPACES];

		if (sp->used)
			continue;
		memset(sp, 0, sizeof(*sp));
		return sp;
	}
	snprintf(cp->header->no_takeover, sizeof(cp->header->no_takeover),
		 "the job has had more than %u address spaces at once", KEPT_SPACES);
	return calloc(1, sizeof(struct aspace));
}

int aspace_watch(struct capture *cp, struct aspace *sp)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = sp->id.v};

	if (epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, sp->uffd, &ev))
		return -errno;
	if (!sp->agent.ring)
		return 0;
	ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 2ULL << 32 | sp->id.v};
	return epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, sp->agent.pidfd, &ev) ? -errno : 0;
}

static bool is_kept(const struct capture *cp, const struct aspace *sp)
{
	return sp >= cp->kept->space && sp < cp->kept->space + KEPT_SPACES;
}

static void aspace_put(struct capture *cp, struct aspace *sp)
{
	if (is_kept(cp, sp))
		sp->used = false;
	else
		free(sp);
}

struct aspace *aspace_new(struct capture *cp, int uffd, pid_t pid)
{
	struct aspace *sp = aspace_get(cp);

	if (!sp)
		return NULL;
	sp->id.v = ++cp->kept->next_space;
	sp->uffd = uffd;
	sp->pid = pid;
	sp->wake_fd = sp->pagemap_fd = -1;
	sp->readable = true;
	if (aspace_watch(cp, sp)) {
		aspace_put(cp, sp);
		return NULL;
	}
	sp->used = is_kept(cp, sp);
	sp->next = cp->spaces;
	cp->spaces = sp;
	return sp;
}

/* A task lets go of its memory first and is seen to end later: one without
 * memory is as good as dead, and comparing it with anybody says nothing. */
int agent_is_dead(const struct aspace *sp)
{
	struct pollfd p = {.fd = sp->agent.pidfd, .events = POLLIN};
	uint64_t virt_bytes, anon_bytes;
	int fd, err;

	if (!sp->agent.ring)
		return 0;
	if (poll(&p, 1, 0) > 0)
		return 1;
	fd = proc_open_statm(sp->agent.pid);
	if (fd < 0)
		return fd == -ESRCH ? 1 : fd;
	err = proc_statm(fd, &virt_bytes, &anon_bytes);
	close(fd);
	return err == -ESRCH ? 1 : err;
}

int aspace_take_agent(struct capture *cp, struct aspace *sp, struct agent *agent, int wake_fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 2ULL << 32 | sp->id.v};
	struct agent_ring *ring = agent->ring;

	epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, agent->pidfd, &ev);
	sp->agent = *agent;
	sp->wake_fd = wake_fd;
	memcpy(sp->scratch, ring->scratch, sizeof(sp->scratch));
	sp->own_start = ring->own_start;
	sp->own_end = ring->own_end;
	ring->notify = 1;
	ring->by_kernel = cp->dear_look;
	/* Its task was hurried while it was made. */
	sched_setscheduler(agent->pid, SCHED_OTHER, &(struct sched_param){0});
	priority_first(agent->pid);
	sp->not_cpu = -1;
	CPU_ZERO(&sp->cpus); /* more CPUs than fit: it stays where it may be */
	sched_getaffinity(agent->pid, sizeof(sp->cpus), &sp->cpus);
	if (sp->pagemap_fd >= 0)
		close(sp->pagemap_fd);
	sp->pagemap_fd = proc_open_pagemap(agent->pid);
	if (process_find(cp, agent->pid)) /* seen before it had its name */
		process_exited(cp, process_find(cp, agent->pid));
	cp->header->agents++;
	cp->header->agents_total++;
	return sp->pagemap_fd < 0 ? sp->pagemap_fd : 0;
}

/* ---- bounce buffers ---- */

#define BOUNCE_REST_NS 200000000ULL

bool aspace_may_bounce(struct capture *cp, struct aspace *sp)
{
	if (!sp->bounces) {
		if (cp->nr_bounces &&
		    (cp->nr_bounces + 1) * AGENT_BOUNCE_BYTES > cp->cap_bytes / 16)
			return false;
		sp->bounces = true;
		cp->nr_bounces++;
	}
	sp->bounce_ns = capture_now_ns();
	return true;
}

static void end_bounces(struct capture *cp, struct aspace *sp)
{
	cp->nr_bounces -= sp->bounces;
	sp->bounces = false;
}

void aspaces_rest(struct capture *cp)
{
	uint64_t now = capture_now_ns();

	for (struct aspace *sp = cp->spaces; sp && cp->nr_bounces; sp = sp->next) {
		if (!sp->bounces || sp->dead || now - sp->bounce_ns < BOUNCE_REST_NS ||
		    !agent_idle(sp) || core_half(cp->core, sp->id, 0) != HALF_FREE ||
		    core_half(cp->core, sp->id, 1) != HALF_FREE)
			continue;
		fallocate(sp->agent.ring_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE_BYTES,
			  AGENT_BOUNCE_BYTES);
		end_bounces(cp, sp);
		sp->drop[0] = sp->drop[1] = sp->spare;
	}
}

/* ---- the end ---- */

void aspace_gone(struct capture *cp, struct aspace *sp)
{
	int uffd = sp->uffd;
	bool is_agents = sp->agent.ring && sp->agent.uffd_job == uffd;

	if (sp->dead)
		return;
	sp->dead = true;
	end_bounces(cp, sp);
	take_abandon(cp, sp);
	core_space_gone(cp->core, sp->id);
	for (unsigned int i = 0; i < AGENT_SLOTS; i++) {
		static const pageset none;
		struct command *cmd = &sp->cmd[i];

		if (!cmd->used)
			continue;
		cmd->used = false;
		if (cmd->op == AGENT_MOVE || cmd->op == AGENT_TAKE)
			core_moved(cp->core, sp->id, cmd->half, &none, &none, &none, &none, false);
		if (cmd->op == AGENT_POPULATE)
			core_populated(cp->core, sp->id, cmd->va, -ESRCH);
		if (cmd->op == AGENT_PLACE)
			core_placed(cp->core, sp->id, &none, &none, false);
	}
	epoll_ctl(cp->epoll_fd, EPOLL_CTL_DEL, uffd, NULL);
	sp->uffd = -1; /* first: its number may soon be another's, and somebody take over */
	if (sp->agent.ring) {
		cp->header->agents--;
		agent_fini(&sp->agent);
	}
	if (!is_agents) /* a fork's, which its agent has by another number */
		close(uffd);
	if (sp->wake_fd >= 0)
		close(sp->wake_fd);
	if (sp->pagemap_fd >= 0)
		close(sp->pagemap_fd);
	free(sp->wiped);
	free(sp->keep);
	sp->keep = NULL;
	for (struct process *p = cp->procs; p; p = p->next)
		if (p->space == sp) {
			p->space = NULL;
			if (p->state == PROC_MANAGED)
				p->state = PROC_SMALL;
		}
}

bool aspaces_unclaimed(const struct capture *cp)
{
	for (const struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (!sp->dead && !sp->pid)
			return true;
	return false;
}

void aspaces_bury(struct capture *cp)
{
	for (struct aspace **p = &cp->spaces; *p;) {
		struct aspace *sp = *p;

		if (!sp->dead || sp->asked) {
			p = &sp->next;
			continue;
		}
		*p = sp->next;
		aspace_put(cp, sp);
	}
}

/* ---- commands ---- */

bool agent_idle(const struct aspace *sp)
{
	return sp->post == sp->take;
}

int agent_post(struct aspace *sp, const struct agent_cmd *cmd)
{
	unsigned int slot = sp->post % AGENT_SLOTS;
	struct agent_ring *ring = sp->agent.ring;
	struct agent_cmd *c;

	if (!ring)
		return -ESRCH;
	if (sp->cmd[slot].used)
		return -EAGAIN;
	c = &ring->cmd[slot];
	memcpy((char *)c + sizeof(c->state), (const char *)cmd + sizeof(c->state),
	       sizeof(*c) - sizeof(c->state));
	sp->cmd[slot] = (struct command){.used = true,
					 .op = cmd->op,
					 .half = cmd->half,
					 .va = cmd->va,
					 .want = cmd->want,
					 .since_ns = capture_now_ns()};
	priority_apart(sp);
	/* In this order, as reap_one() has its own: adopt.c tells from it what was asked. */
	__atomic_store_n(&c->state, AGENT_QUEUED, __ATOMIC_SEQ_CST);
	sp->post++;
	if (__atomic_load_n(&ring->sleeping, __ATOMIC_SEQ_CST) && write(sp->wake_fd, "w", 1) < 0)
		return errno == EAGAIN ? 0 : -ESRCH; /* a full pipe wakes as well */
	return 0;
}

/* Where one MOVE went over gaps, it counts what has become one: such a page was not there to
 * be moved. What is in scratch beside what @may be there is a page of the job. */
static int only_what_is_there(const struct aspace *sp, const struct command *cmd, pageset *moved,
			      const pageset *may)
{
	uint64_t start = sp->scratch[cmd->half];
	pageset here;
	int err = proc_any(sp->pagemap_fd, start, start + CHUNK_BYTES, &here);

	for (unsigned int i = 0; !err && i < CHUNK_WORDS; i++) {
		if (here.w[i] & ~may->w[i])
			err = -EIO;
		moved->w[i] &= here.w[i];
	}
	return err;
}

/* What is in scratch and nobody knows of is a page of the job, and this is the last look at it
 * before the half is dropped. The agent can't see what the host has swapped out. */
static int look_at_scratch(const struct aspace *sp, const struct command *cmd,
			   struct agent_cmd *got)
{
	uint64_t start = sp->scratch[cmd->half], at;
	pageset there = got->moved;
	int err;

	if (!got->bounce)
		return only_what_is_there(sp, cmd, &got->moved, &there);
	if (got->keep) /* and some may be used up already */
		return only_what_is_there(sp, cmd, &there, &got->moved);
	err = proc_next_present(sp->pagemap_fd, start, start + CHUNK_BYTES, &at);
	return !err && at < start + CHUNK_BYTES ? -EIO : err;
}

struct lock_seen {
	uint64_t va;
	bool locked;
};

static int note_locked(void *ctx, const struct proc_map *m)
{
	struct lock_seen *seen = ctx;

	seen->locked |= m->locked && m->start <= seen->va && seen->va < m->end;
	return 0;
}

/* Scratch can't be emptied when the job has locked it: mlockall(). Else what @seen says. */
static const char *why_stuck(const struct aspace *sp, const char *seen)
{
	struct lock_seen lock = {.va = sp->scratch[0]};

	proc_smaps_each(sp->agent.pid, note_locked, &lock);
	return lock.locked ? REASON_ALL_LOCKED : seen;
}

/* Who waits for one of them by other means than a message must hear of it. */
static void placed(struct capture *cp, struct aspace *sp, const struct command *cmd,
		   const struct agent_cmd *got)
{
	unsigned int end;

	core_placed(cp->core, sp->id, &got->moved, &got->busy, got->overtaken);
	for (unsigned int i = pageset_next(&got->moved, 0); i < CHUNK_PAGES;
	     i = pageset_next(&got->moved, end)) {
		end = pageset_next_gap(&got->moved, i);
		fast_answered(cp, sp->id, cmd->va + i * PAGE_BYTES, end - i);
	}
	fast_note(cp, sp->id, cmd->va);
}

static void answered(struct capture *cp, struct aspace *sp, const struct command *cmd,
		     struct agent_cmd *got)
{
	pageset took;
	int err;

	switch (cmd->op) {
	case AGENT_MOVE:
		if (got->err && got->err != -EAGAIN)
			log_debug("agent: a move ended early err=%d", got->err);
		sp->bounced[cmd->half] = got->bounce;
		sp->spare = got->spare;
		sp->coming[cmd->half] = 0;
		if ((got->err == -EIO || look_at_scratch(sp, cmd, got)) && agent_is_dead(sp) != 1)
			cp->fatal = why_stuck(sp, "a page is stuck in scratch");
		core_moved(cp->core, sp->id, cmd->half, &got->moved, &got->known, &got->busy,
			   &got->invalid, got->overtaken);
		break;
	case AGENT_TAKE:
		took = got->moved;
		err = only_what_is_there(sp, cmd, &got->moved, &cmd->want);
		if ((err || memcmp(&took, &got->moved, sizeof(took))) && agent_is_dead(sp) != 1)
			cp->fatal = why_stuck(sp, "what an agent took is not in scratch");
		take_answered(cp, sp, cmd, got);
		break;
	case AGENT_PLACE:
		sp->spare = got->spare;
		placed(cp, sp, cmd, got);
		break;
	case AGENT_POPULATE:
		core_populated(cp->core, sp->id, cmd->va, got->err);
		break;
	case AGENT_DROP:
		sp->spare = 0;
		break;
	default:
		break;
	}
}

static void reap_one(struct capture *cp, struct aspace *sp)
{
	while (!sp->dead && sp->post != sp->take) {
		unsigned int slot = sp->take % AGENT_SLOTS;
		struct agent_cmd *c = &sp->agent.ring->cmd[slot];
		struct command cmd = sp->cmd[slot];
		struct agent_cmd got;

		if (__atomic_load_n(&c->state, __ATOMIC_ACQUIRE) != AGENT_DONE) {
			if (capture_now_ns() - cmd.since_ns > COMMAND_TIMEOUT_NS)
				cp->fatal = "an agent does not answer";
			return;
		}
		got = *c;
		for (unsigned int i = 0; i < CHUNK_WORDS; i++)
			got.moved.w[i] &= cmd.want.w[i];
		answered(cp, sp, &cmd, &got);
		core_commit(cp->core);
		sp->cmd[slot].used = false;
		__atomic_store_n(&sp->take, sp->take + 1, __ATOMIC_RELEASE);
		__atomic_store_n(&c->state, AGENT_FREE, __ATOMIC_RELEASE);
	}
}

void agents_reap(struct capture *cp)
{
	for (struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (!sp->dead && sp->agent.ring)
			reap_one(cp, sp);
}

bool agents_answered(const struct capture *cp)
{
	for (const struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (!sp->dead && sp->post != sp->take &&
		    __atomic_load_n(&sp->agent.ring->cmd[sp->take % AGENT_SLOTS].state,
				    __ATOMIC_ACQUIRE) == AGENT_DONE)
			return true;
	return false;
}

void agents_drop(struct capture *cp)
{
	for (struct aspace *sp = cp->spaces; sp; sp = sp->next) {
		for (unsigned int h = 0; h < CORE_HALVES; h++) {
			struct agent_cmd cmd = {.op = AGENT_DROP, .half = h};

			if (sp->drop[h] && agent_idle(sp) && !agent_post(sp, &cmd))
				sp->drop[h] = false;
		}
	}
}
