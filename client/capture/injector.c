/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that puts agents into processes. Stopping a process may take as
 * long as it takes the pager to answer its faults (one that is inside exec,
 * say), so the pager can't do it itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/quiesce.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define INJECT_TIMEOUT_MS 2000

struct request {
	struct request *next;
	pid_t pid;
	uint32_t space; /* a forked one's, or 0 */
	bool quiesce;	/* no agent is wanted, only a look at the threads */
	int quiesced;
	int uffd_job;
	/* answer */
	struct agent agent;
	int wake_fd;
	enum inject_refusal why;
	char text[160];
};

struct injector {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct request *todo, *done;
	uint32_t current;   /* atomic: space that is being entered, or 0 */
	unsigned int asked; /* not yet reaped; pager's thread only */
	int event_fd, dev_fd, done_fd;
	bool no_move;
};

static void inject_one(const struct injector *in, struct request *r)
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
		r->why = REFUSE_NONE;
		fcntl(wake[1], F_SETFL, O_NONBLOCK);
		r->wake_fd = wake[1];
	}
	close(wake[0]);
}

static void *injector_loop(void *arg)
{
	struct injector *in = arg;

	prctl(PR_SET_NAME, "rmem-injector");
	for (;;) {
		struct request *r;
		uint64_t one = 1;

		pthread_mutex_lock(&in->lock);
		while (!in->todo)
			pthread_cond_wait(&in->work, &in->lock);
		r = in->todo;
		in->todo = r->next;
		pthread_mutex_unlock(&in->lock);
		__atomic_store_n(&in->current, r->space, __ATOMIC_SEQ_CST);
		if (r->quiesce)
			r->quiesced = quiesce_process(r->pid);
		else
			inject_one(in, r);
		__atomic_store_n(&in->current, 0, __ATOMIC_SEQ_CST);
		pthread_mutex_lock(&in->lock);
		r->next = in->done;
		in->done = r;
		pthread_mutex_unlock(&in->lock);
		if (write(in->event_fd, &one, sizeof(one)) < 0)
			return NULL;
	}
}

int injector_start(struct capture *cp)
{
	struct injector *in = calloc(1, sizeof(*in));

	if (!in)
		return -ENOMEM;
	pthread_mutex_init(&in->lock, NULL);
	pthread_cond_init(&in->work, NULL);
	in->dev_fd = cp->dev_userfaultfd;
	in->done_fd = cp->done_fd;
	in->no_move = !cp->has_move;
	in->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cp->injector = in;
	if (in->event_fd < 0 || pthread_create(&in->thread, NULL, injector_loop, in))
		return err_set(-EAGAIN, "no thread to place agents with");
	return 0;
}

int injector_fd(const struct capture *cp)
{
	return cp->injector->event_fd;
}

static void queue(struct injector *in, struct request *r)
{
	struct request **at = &in->todo;

	in->asked++;
	pthread_mutex_lock(&in->lock);
	while (*at)
		at = &(*at)->next;
	*at = r;
	pthread_cond_signal(&in->work);
	pthread_mutex_unlock(&in->lock);
}

void injector_ask(struct capture *cp, pid_t pid, struct aspace *sp)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return;
	r->pid = pid;
	r->uffd_job = -1;
	if (sp) {
		r->space = sp->id.v;
		r->uffd_job = sp->uffd;
		sp->asked = true;
	}
	queue(cp->injector, r);
}

int injector_quiesce(struct capture *cp, struct aspace *sp)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->pid = sp->pid;
	r->space = sp->id.v;
	r->quiesce = true;
	queue(cp->injector, r);
	return 0;
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
	return cp->injector->asked > 0;
}

static void discard(struct request *r)
{
	if (r->why == REFUSE_NONE) {
		agent_fini(&r->agent);
		close(r->wake_fd);
	}
}

/* A process that had no space of ours: its memory is registered, then moved. */
static void new_space(struct capture *cp, struct request *r)
{
	struct aspace *sp = aspace_new(cp, r->agent.uffd_job, r->pid);

	if (!sp || core_space_add(cp->core, sp->id)) {
		cp->fatal = "no memory for an address space";
		return;
	}
	if (aspace_take_agent(cp, sp, &r->agent, r->wake_fd)) {
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

static void old_space(struct capture *cp, struct request *r)
{
	struct aspace *sp = aspace_find(cp, (space_id){r->space});

	if (!sp)
		return;
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

static void quiesced(struct capture *cp, const struct request *r)
{
	struct aspace *sp = aspace_find(cp, (space_id){r->space});

	if (!sp || sp->dead)
		return;
	/* Only if nobody else lives in the space was everybody looked at. */
	core_quiesced(cp->core, sp->id, r->quiesced == 0 && !aspace_is_shared(cp, sp));
}

static void injected(struct capture *cp, struct request *r)
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

void injector_reap(struct capture *cp)
{
	struct injector *in = cp->injector;
	struct request *r;
	uint64_t n;

	if (read(in->event_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&in->lock);
	r = in->done;
	in->done = NULL;
	pthread_mutex_unlock(&in->lock);
	while (r) {
		struct request *next = r->next;

		if (r->quiesce)
			quiesced(cp, r);
		else
			injected(cp, r);
		in->asked--;
		free(r);
		r = next;
	}
}
