/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that puts agents into processes. Stopping a process may take as
 * long as it takes the pager to answer its faults (one that is inside exec,
 * say), so the pager can't do it itself; and who stops a thread must live until
 * that runs again, whatever happens to the pager. It shares its descriptors with
 * all of rmem, and memory by struct injector, where a new pager finds what the one
 * before has asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/quiesce.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/spawn.h"

#define INJECT_TIMEOUT_MS 2000

/* ---- in its process ---- */

static void inject_one(const struct injector *in, struct inject_request *r)
{
	int wake[2];
	struct inject_args args = {.pid = r->pid,
				   .dev_userfaultfd = in->dev_fd,
				   .uffd_job = r->uffd_job,
				   .done_fd = in->done_fd,
				   .no_move = in->no_move,
				   .timeout_ms = INJECT_TIMEOUT_MS};

	r->why = REFUSE_OTHER;
	r->wake_fd = -1;
	if (pipe2(wake, O_CLOEXEC))
		return;
	args.wake_read_fd = wake[0];
	if (inject_agent(&args, &r->agent, &r->why)) {
		snprintf(r->text, sizeof(r->text), "%s", err_text(-EIO));
		close(wake[1]);
	} else {
		munmap(r->agent.ring, PAGE_BYTES); /* the pager maps it for itself */
		r->why = REFUSE_NONE;
		fcntl(wake[1], F_SETFL, O_NONBLOCK);
		r->wake_fd = wake[1];
	}
	close(wake[0]);
}

static uint32_t state_of(const struct inject_request *r)
{
	return __atomic_load_n(&r->state, __ATOMIC_ACQUIRE);
}

static void set_state(struct inject_request *r, enum inject_state state)
{
	__atomic_store_n(&r->state, state, __ATOMIC_RELEASE);
}

/* What was asked for first. */
static struct inject_request *next_asked(struct injector *in)
{
	struct inject_request *best = NULL;

	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		struct inject_request *r = &in->request[i];

		if (state_of(r) == INJECT_ASKED && (!best || r->seq < best->seq))
			best = r;
	}
	return best;
}

static int injector_main(void *arg)
{
	struct injector *in = arg;
	uint64_t n = 1;

	setsid();
	prctl(PR_SET_NAME, "rmem-injector");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != in->supervisor_pid) /* it has died already */
		return EXIT_FAILURE;
	priority_first(getpid()); /* in a session of its own, that of the pager says nothing */
	while (read(in->todo_fd, &n, sizeof(n)) == (ssize_t)sizeof(n)) {
		struct inject_request *r;

		while ((r = next_asked(in))) {
			__atomic_store_n(&in->current, r->space, __ATOMIC_SEQ_CST);
			if (r->quiesce)
				r->quiesced = quiesce_process(r->pid);
			else
				inject_one(in, r);
			__atomic_store_n(&in->current, 0, __ATOMIC_SEQ_CST);
			set_state(r, INJECT_DONE);
			n = 1;
			if (write(in->event_fd, &n, sizeof(n)) < 0)
				return EXIT_FAILURE;
		}
	}
	return EXIT_FAILURE;
}

/* ---- in the pager ---- */

int injector_start(struct capture *cp)
{
	struct injector *in = &cp->kept->injector;
	int pid;

	cp->injector = in;
	if (cp->header->injector_pid) { /* of a pager before, which may have read these */
		uint64_t one = 1;

		return write(in->todo_fd, &one, sizeof(one)) < 0 ||
				       write(in->event_fd, &one, sizeof(one)) < 0
			       ? err_set(-errno, "eventfd: %s", strerror(errno))
			       : 0;
	}
	in->dev_fd = cp->dev_userfaultfd;
	in->done_fd = cp->done_fd;
	in->no_move = !cp->has_move;
	in->supervisor_pid = cp->header->supervisor_pid;
	in->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	in->todo_fd = eventfd(0, EFD_CLOEXEC);
	/* The supervisor's child, as the pager is, before there are threads here. */
	pid = in->event_fd < 0 || in->todo_fd < 0 ? -errno
						  : spawn_beside(injector_main, in, CLONE_PARENT);
	if (pid < 0)
		return err_set(pid, "no process to place agents with: %s", strerror(-pid));
	cp->header->injector_pid = cp->skip[3] = pid;
	return 0;
}

int injector_fd(const struct capture *cp)
{
	return cp->injector->event_fd;
}

/* -EAGAIN: too many are waiting. */
static int queue(struct injector *in, const struct inject_request *what)
{
	uint64_t one = 1;

	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		struct inject_request *r = &in->request[i];

		if (state_of(r) != INJECT_FREE)
			continue;
		*r = *what;
		r->seq = ++in->seq;
		set_state(r, INJECT_ASKED);
		return write(in->todo_fd, &one, sizeof(one)) < 0 ? -errno : 0;
	}
	return -EAGAIN;
}

int injector_ask(struct capture *cp, pid_t pid, struct aspace *sp)
{
	struct inject_request r = {.pid = pid, .uffd_job = -1};
	int err;

	if (sp) {
		r.space = sp->id.v;
		r.uffd_job = sp->uffd;
	}
	err = queue(cp->injector, &r);
	if (sp)
		sp->asked = !err;
	return err;
}

/* One at a time: the answer to what a pager before has asked says nothing of now. */
static bool is_quiescing(const struct injector *in, space_id space)
{
	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		const struct inject_request *r = &in->request[i];

		if (state_of(r) != INJECT_FREE && r->quiesce && r->space == space.v)
			return true;
	}
	return false;
}

int injector_quiesce(struct capture *cp, struct aspace *sp)
{
	if (is_quiescing(cp->injector, sp->id))
		return -EAGAIN;
	return queue(cp->injector,
		     &(struct inject_request){.pid = sp->pid, .space = sp->id.v, .quiesce = true});
}

void injector_let_through(struct capture *cp)
{
	uint32_t current = __atomic_load_n(&cp->injector->current, __ATOMIC_SEQ_CST);

	for (const struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (sp->wanted && !sp->dead)
			core_let_through(cp->core, sp->id, sp->id.v == current || sp->stuck);
}

bool injector_busy(const struct capture *cp)
{
	for (unsigned int i = 0; i < INJECT_REQUESTS; i++)
		if (state_of(&cp->injector->request[i]) != INJECT_FREE)
			return true;
	return false;
}

bool injector_has(const struct capture *cp, pid_t pid, space_id space)
{
	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		const struct inject_request *r = &cp->injector->request[i];

		if (state_of(r) != INJECT_FREE && !r->quiesce &&
		    (space.v ? r->space == space.v : !r->space && r->pid == pid))
			return true;
	}
	return false;
}

static bool is_made(const struct inject_request *r)
{
	return state_of(r) == INJECT_DONE && !r->quiesce && r->why == REFUSE_NONE;
}

bool injector_has_made(const struct capture *cp, const struct aspace *sp)
{
	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		const struct inject_request *r = &cp->injector->request[i];

		if (is_made(r) && (r->space ? r->space == sp->id.v : r->agent.uffd_job == sp->uffd))
			return true;
	}
	return false;
}

bool injector_has_fd(const struct capture *cp, int uffd)
{
	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		const struct inject_request *r = &cp->injector->request[i];

		if (is_made(r) && r->agent.uffd_job == uffd)
			return true;
	}
	return false;
}

/* Once, also when another pager goes over the answers again. */
static bool give_up(struct inject_request *r)
{
	if (r->why != REFUSE_NONE)
		return false;
	__atomic_store_n(&r->why, REFUSE_GONE, __ATOMIC_SEQ_CST);
	return true;
}

static void discard(struct inject_request *r)
{
	if (give_up(r)) {
		agent_fini(&r->agent);
		close(r->wake_fd);
	}
}

/* By a pager that died before it could say that it had. */
static struct aspace *taken_before(const struct capture *cp, const struct inject_request *r)
{
	struct aspace *sp = cp->spaces;

	while (sp && (sp->dead || sp->uffd != r->agent.uffd_job))
		sp = sp->next;
	return sp;
}

/* A process that had no space of ours: its memory is registered, then moved. */
static void new_space(struct capture *cp, struct inject_request *r)
{
	struct aspace *sp = taken_before(cp, r);

	if (sp) {
		sp->pid = r->pid;
	} else {
		sp = aspace_new(cp, r->agent.uffd_job, r->pid);
		if (!sp || core_space_add(cp->core, sp->id)) {
			cp->fatal = "no memory for an address space";
			return;
		}
	}
	if (aspace_take_agent(cp, sp, &r->agent, r->wake_fd)) {
		give_up(r);
		aspace_gone(cp, sp);
		process_injected(cp, r->pid, REFUSE_GONE, NULL);
		return;
	}
	if (!process_find(cp, r->pid))
		sp->pid = 0;
	process_injected(cp, r->pid, REFUSE_NONE, sp);
	aspace_register(cp, sp);
	if (cp->shared_bytes)
		aspace_guard_shared(cp, sp, sp->pid);
	core_agent_ready(cp->core, sp->id);
}

static void old_space(struct capture *cp, struct inject_request *r)
{
	struct aspace *sp = aspace_find(cp, (space_id){r->space});

	if (!sp) {
		discard(r); /* it ended, and then the pager that had asked did */
		return;
	}
	sp->asked = false;
	sp->stuck = r->why == REFUSE_STUCK;
	if (sp->dead || r->why == REFUSE_GONE || r->why == REFUSE_STUCK) {
		discard(r);
		return; /* still wanted: asked for again at the next poll */
	}
	if (r->why == REFUSE_OTHER && ++sp->tries < 8) {
		process_unclaim(cp, sp); /* not this process's, it seems */
		return;
	}
	sp->wanted = sp->stuck = false;
	core_let_through(cp->core, sp->id, false);
	if (r->why != REFUSE_NONE) {
		process_refused(cp, r->pid, r->why);
		core_agent_failed(cp->core, sp->id, -EPERM);
		return;
	}
	if (aspace_take_agent(cp, sp, &r->agent, r->wake_fd))
		return;
	sp->unproven = true;
}

static void quiesced(struct capture *cp, const struct inject_request *r)
{
	struct aspace *sp = aspace_find(cp, (space_id){r->space});

	if (!sp || sp->dead)
		return;
	/* Only if nobody else lives in the space was everybody looked at. */
	core_quiesced(cp->core, sp->id, r->quiesced == 0 && !aspace_is_shared(cp, sp));
}

static void injected(struct capture *cp, struct inject_request *r)
{
	if (r->why != REFUSE_NONE)
		log_info("no agent in process %d: %s", r->pid, r->text);
	if (r->space)
		old_space(cp, r);
	else if (r->why == REFUSE_NONE)
		new_space(cp, r);
	else
		process_injected(cp, r->pid, r->why, NULL);
}

static void reap(struct capture *cp, struct inject_request *r)
{
	if (r->quiesce) {
		quiesced(cp, r);
		return;
	}
	if (r->why == REFUSE_NONE) {
		r->agent.ring = agent_map(r->agent.ring_fd);
		if (!r->agent.ring)
			cp->fatal = "no memory for an agent";
	}
	if (!cp->fatal)
		injected(cp, r);
}

void injector_reap(struct capture *cp)
{
	struct injector *in = cp->injector;
	uint64_t n;

	if (read(in->event_fd, &n, sizeof(n)) < 0)
		return;
	for (unsigned int i = 0; i < INJECT_REQUESTS; i++) {
		struct inject_request *r = &in->request[i];

		if (state_of(r) != INJECT_DONE)
			continue;
		reap(cp, r);
		core_commit(cp->core);
		set_state(r, INJECT_FREE);
	}
}
