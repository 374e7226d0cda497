/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_pager: the pager's process. It shares the descriptor table, so
 * that a userfaultfd it was just handed by the kernel outlives it, and
 * nothing else: memory is copied, session and process group are its own.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"

#define PAGER_STACK_BYTES MIB(8)
#define PAGER_EXIT_MS	  2000

/* Signals stay blocked: whoever ends a whole session or service by signal
 * means the job, and the job may take its time. */
static int pager_entry(void *arg)
{
	setsid();
	prctl(PR_SET_NAME, "rmem-pager");
	_exit(pager_main(arg));
}

int pager_start(struct supervisor *s)
{
	struct pager_args args = {
		.cfg = s->cfg,
		.header = s->header,
		.ctl_fd = s->pager_ctl_fd,
		.supervisor_pidfd = s->self_pidfd,
		.private_server_fd = s->server_sock,
		.dev_userfaultfd = s->dev_fd,
	};
	char *stack = mmap(NULL, PAGER_STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	int err = 0;

	if (stack == MAP_FAILED)
		return err_set(-errno, "no stack for the pager: %s", strerror(errno));
	s->pager_pid = clone(pager_entry, stack + PAGER_STACK_BYTES, CLONE_FILES | SIGCHLD, &args);
	if (s->pager_pid < 0) {
		err = err_set(-errno, "no process for the pager: %s", strerror(errno));
		s->pager_pid = 0;
	}
	s->header->pager_pid = s->pager_pid;
	munmap(stack, PAGER_STACK_BYTES); /* the pager has its own copy */
	return err;
}

static void status_text(struct supervisor *s, const char *text)
{
	json_t *obj = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (obj)
		supervisor_event(s, obj);
}

static void on_ready(struct supervisor *s)
{
	if (s->phase != PHASE_STARTING)
		return;
	s->phase = PHASE_RUNNING;
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
		supervisor_fail(s, RUN_EXIT_FAILED, "%s", m->text);
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
