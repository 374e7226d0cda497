/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_attach: the job was there before. It is nobody's child here, so
 * its end is seen by a pidfd, and the end of what it started by the pager's
 * count of processes.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"

#define GONE_MS 1000

int attach_start(struct supervisor *s)
{
	pid_t pid = s->cfg->attach_pid;
	int err;

	s->job_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (s->job_pidfd < 0)
		return err_set(-errno, "process %d: %s", (int)pid, strerror(errno));
	s->job_pid = s->header->job_pid = pid;
	err = ctl_send(s->ctl_fd, CTL_JOB, pid, NULL);
	if (err)
		return err_set(err, "the pager can't be told of the job: %s", strerror(-err));
	supervisor_event(s, json_pack("{s:s, s:i}", "event", "job", "pid", (int)pid));
	return 0;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

void attach_ended_check(struct supervisor *s)
{
	uint64_t now = supervisor_now_ms();

	if (s->job_pid && has_ended(s->job_pidfd)) {
		close(s->job_pidfd);
		s->job_pidfd = -1;
		s->job_pid = 0;
	}
	if (s->job_pid || __atomic_load_n(&s->header->processes, __ATOMIC_ACQUIRE)) {
		s->processes_gone_ms = 0;
		return;
	}
	if (!s->processes_gone_ms)
		s->processes_gone_ms = now;
	if (now - s->processes_gone_ms >= GONE_MS)
		s->phase = PHASE_FINISHING;
}
