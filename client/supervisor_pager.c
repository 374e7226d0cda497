/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_pager: the pager's process, and the spare one that becomes the pager when that
 * dies. It shares the descriptor table, so that a userfaultfd it was just handed by the
 * kernel outlives it, and nothing else: memory is copied, session and process group are its
 * own.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/spawn.h"

#define PAGER_EXIT_MS 2000

/*
 * What the pager's process and the one that waits to follow it start with. Both are made
 * before there is a thread here, and the next one that waits by the one that has ceased to:
 * a process made beside threads could find their locks held for ever.
 */
static struct pager_args start;

/* Signals stay blocked: whoever ends a whole session or service by signal
 * means the job, and the job may take its time. */
static int pager_entry(void *arg)
{
	setsid();
	prctl(PR_SET_NAME, "rmem-pager");
	_exit(pager_main(arg));
}

static int spare_entry(void *arg);

/*
 * A place among the spares is had by whoever says so first: its maker may be killed before it can
 * say whom it has made, and the next one then makes another.
 */
static bool claim(struct run_header *h, unsigned int i, pid_t pid)
{
	int32_t was = 0;

	return __atomic_compare_exchange_n(&h->spare_pid[i], &was, pid, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST) ||
	       was == pid;
}

static void give_place_up(struct run_header *h, unsigned int i, pid_t pid)
{
	int32_t was = pid;

	__atomic_compare_exchange_n(&h->spare_pid[i], &was, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

/* Both say it: who sees only the maker's processes must not take a spare for one of the job. */
static pid_t spawn_spare(unsigned int i, int flags)
{
	pid_t pid;

	start.spare = i;
	pid = spawn_beside(spare_entry, &start, flags);
	if (pid > 0 && claim(start.header, i, pid) && kill(pid, 0)) /* it is dead, and waited for */
		give_place_up(start.header, i, pid);
	return pid;
}

/* Whom the header names is the pager, and nobody else: two would be none. */
static bool is_named(const struct run_header *h, pid_t pid)
{
	return __atomic_load_n(&h->pager_pid, __ATOMIC_SEQ_CST) == pid;
}

static void await_turn(const struct run_header *h, pid_t self)
{
	int32_t named;

	while ((named = __atomic_load_n(&h->pager_pid, __ATOMIC_SEQ_CST)) != self)
		syscall(SYS_futex, &h->pager_pid, FUTEX_WAIT, named, NULL, NULL, 0);
}

static void name_pager(struct run_header *h, pid_t pid)
{
	__atomic_store_n(&h->pager_pid, pid, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &h->pager_pid, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Waits for its turn, and is the pager from then on. */
static int spare_entry(void *arg)
{
	struct pager_args *args = arg;
	struct run_header *h = args->header;
	pid_t self = getpid();

	setsid();
	prctl(PR_SET_NAME, RUN_SPARE_NAME);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != h->supervisor_pid) /* it has died already */
		_exit(EXIT_FAILURE);
	if (!claim(h, args->spare, self) && !is_named(h, self))
		_exit(EXIT_FAILURE);
	await_turn(h, self);
	give_place_up(h, args->spare, self);
	for (unsigned int i = 0; i < RUN_SPARES; i++)
		if (!h->spare_pid[i])
			spawn_spare(i, CLONE_PARENT);
	prctl(PR_SET_PDEATHSIG, 0);
	prctl(PR_SET_NAME, "rmem-pager");
	args->takeover = true;
	_exit(pager_main(args));
}

int pager_start(struct supervisor *s)
{
	pid_t pid = 0;

	start = (struct pager_args){
		.cfg = s->cfg,
		.header = s->header,
		.ctl_fd = s->pager_ctl_fd,
		.supervisor_pidfd = s->self_pidfd,
		.private_server_fd = s->server_sock,
		.dev_userfaultfd = s->dev_fd,
	};
	for (unsigned int i = 0; i < RUN_SPARES && pid >= 0; i++)
		pid = spawn_spare(i, 0);
	if (pid >= 0)
		pid = spawn_beside(pager_entry, &start, 0);
	if (pid < 0)
		return err_set(pid, "no process for the pager: %s", strerror(-pid));
	s->pager_pid = s->header->pager_pid = pid;
	return 0;
}

/* ---- another pager ---- */

/* One that died again and again right after it had begun meets what its successor would. */
#define SHORT_LIFE_MS 10U
#define SHORT_LIVES   5U

/* Its place, or RUN_SPARES: none is there. */
static unsigned int find_spare(const struct supervisor *s)
{
	unsigned int found = RUN_SPARES;

	for (unsigned int i = 0; i < RUN_SPARES; i++) {
		pid_t pid = s->header->spare_pid[i];

		if (pid > 0 && !kill(pid, 0))
			found = i;
		else if (pid > 0) /* nobody was left to take it back */
			give_place_up(s->header, i, pid);
	}
	return found;
}

static const char *why_no_takeover(struct supervisor *s, int status)
{
	uint64_t now = supervisor_now_ms();
	bool was_ready = s->pager_ready_ms >= s->pager_lost_ms;

	if (s->header->no_takeover[0])
		return s->header->no_takeover;
	if (!WIFSIGNALED(status) || WTERMSIG(status) == SIGABRT)
		return "what it had found can't be relied on";
	if (find_spare(s) == RUN_SPARES)
		return "nobody was there to follow it";
	s->short_lives =
		was_ready && now - s->pager_ready_ms >= SHORT_LIFE_MS ? 0 : s->short_lives + 1;
	return s->short_lives > SHORT_LIVES ? "it died again and again" : NULL;
}

bool pager_replace(struct supervisor *s, const char *how, const char **why_not)
{
	unsigned int spare;

	*why_not = why_no_takeover(s, s->pager_status);
	if (*why_not)
		return false;
	spare = find_spare(s);
	s->pager_pid = s->header->spare_pid[spare];
	supervisor_skip(s, s->pager_pid);
	s->header->takeovers++;
	s->pager_lost_ms = supervisor_now_ms();
	print_line("%s: another takes over", how);
	name_pager(s->header, s->pager_pid); /* first: it may go on without its place */
	give_place_up(s->header, spare, s->pager_pid);
	return true;
}

void pager_helpers_end(struct supervisor *s)
{
	for (unsigned int i = 0; s->header && i < RUN_SPARES; i++)
		if (s->header->spare_pid[i] > 0)
			kill(s->header->spare_pid[i], SIGKILL);
	if (s->header && s->header->injector_pid > 0)
		kill(s->header->injector_pid, SIGKILL);
}

static void status_text(struct supervisor *s, const char *text)
{
	json_t *obj = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (obj)
		supervisor_event(s, obj);
}

/* They are not the job's. */
void spares_skip(struct supervisor *s)
{
	for (unsigned int i = 0; i < RUN_SPARES; i++)
		supervisor_skip(s, s->header->spare_pid[i]);
}

static void on_takeover(struct supervisor *s)
{
	uint64_t took_ms = s->pager_ready_ms - s->pager_lost_ms;

	print_line("the new pager goes on after %lu ms", (unsigned long)took_ms);
	supervisor_event(s, json_pack("{s:s, s:i, s:I}", "event", "takeover", "pager_pid",
				      (int)s->pager_pid, "ms", (json_int_t)took_ms));
}

static void on_ready(struct supervisor *s)
{
	s->pager_ready_ms = supervisor_now_ms();
	if (s->phase == PHASE_RUNNING)
		on_takeover(s);
	if (s->phase != PHASE_STARTING)
		return;
	s->phase = PHASE_RUNNING;
	supervisor_skip(s, s->header->injector_pid);
	supervisor_event(s, json_pack("{s:s, s:i, s:I, s:I}", "event", "ready", "pager_pid",
				      (int)s->pager_pid, "local_bytes",
				      (json_int_t)s->cfg->local_bytes, "remote_bytes",
				      (json_int_t)s->cfg->remote_bytes));
}

static void on_message(struct supervisor *s, const struct ctl_msg *m)
{
	switch (m->type) {
	case CTL_READY:
		on_ready(s);
		break;
	case CTL_FAILED:
		if (s->phase == PHASE_STARTING)
			supervisor_fail(s, RUN_EXIT_FAILED, "%s", m->text);
		else
			supervisor_lost(s, m->text);
		break;
	case CTL_LOG:
		print_line("%s", m->text);
		break;
	case CTL_LOST:
		supervisor_lost(s, m->text);
		break;
	case CTL_STATUS:
		status_text(s, m->text);
		break;
	case CTL_FINISHED:
		s->pager_finished = true;
		break;
	default:
		break;
	}
}

void pager_read(struct supervisor *s)
{
	struct ctl_msg m;

	while (ctl_recv(s->ctl_fd, &m) == 0)
		on_message(s, &m);
}

/* It has answered CTL_FINISH, or never will. */
void pager_end(struct supervisor *s)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t start_ms = supervisor_now_ms();
	uint64_t last_ms = 0;

	supervisor_reap(s);
	while (s->pager_pid && last_ms < 2 * PAGER_EXIT_MS) {
		if (last_ms > PAGER_EXIT_MS)
			kill(s->pager_pid, SIGKILL);
		nanosleep(&pause, NULL);
		supervisor_reap(s);
		last_ms = supervisor_now_ms() - start_ms;
	}
}
