/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_job: start the job's first process exactly as the caller of rmem
 * would have started it (signals, descriptors, group, session, terminal), and
 * know when the last process has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/agent.h"
#include "client/supervisor.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"

#define AGENTS_ONLY_MS 1000
#define UNSEEN_MS      5000 /* for so long it may be unknown whether any is left */

/* Waits to be let go, then becomes the job. */
static _Noreturn void job_child(const struct supervisor *s, int go_fd, int exec_fd)
{
	char go;
	int err;

	if (read(go_fd, &go, 1) != 1)
		_exit(RUN_EXIT_FAILED);
	signal_restore(s);
	/* So that addresses are those of the other run. */
	if (s->cfg->record_path || s->cfg->replay_path)
		personality((unsigned long)personality(0xffffffff) | ADDR_NO_RANDOMIZE);
	execvp(s->cfg->argv[0], s->cfg->argv);
	err = errno;
	if (write(exec_fd, &err, sizeof(err)) < 0)
		_exit(RUN_EXIT_FAILED);
	_exit(RUN_EXIT_NOTFOUND);
}

int job_start(struct supervisor *s)
{
	int go[2], ex[2], err = 0;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) || pipe2(ex, O_CLOEXEC))
		return err_set(-errno, "no pipe for the job: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return err_set(-errno, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(go[1]);
		job_child(s, go[0], ex[1]);
	}
	close(go[0]);
	close(ex[1]);
	/* What the terminal sent before there was a job has not reached it. Whoever asked to
	 * end is heard now, and the job, which waits, never begins. */
	signal_read(s);
	if (s->phase == PHASE_RUNNING) {
		s->header->job_pid = pid; /* first: a pager that takes over looks there */
		err = ctl_send(s->ctl_fd, CTL_JOB, pid, NULL);
	}
	if (err)
		err_set(err, "the pager can't be told of the job: %s", strerror(-err));
	if (err || s->phase != PHASE_RUNNING) {
		s->header->job_pid = 0;
		close(go[1]);
		close(ex[0]);
		return err;
	}
	s->job_pid = pid;
	s->job_started = true;
	s->job_exec_fd = ex[0];
	if (write(go[1], "", 1) != 1)
		print_line("the job could not be let go: %s", strerror(errno));
	close(go[1]);
	supervisor_event(s, json_pack("{s:s, s:i}", "event", "job", "pid", (int)pid));
	return 0;
}

void job_exec_read(struct supervisor *s)
{
	char name[256];
	int err = 0;
	ssize_t n = read(s->job_exec_fd, &err, sizeof(err));

	close(s->job_exec_fd);
	s->job_exec_fd = -1;
	if (n != (ssize_t)sizeof(err))
		return;
	print_escape(name, sizeof(name), s->cfg->argv[0]);
	supervisor_fail(s, err == ENOENT ? RUN_EXIT_NOTFOUND : RUN_EXIT_NOEXEC, "%s: %s", name,
			strerror(err));
}

void job_reaped(struct supervisor *s, pid_t pid, int status)
{
	if (pid != s->job_pid)
		return;
	if (WIFSTOPPED(status)) {
		signal_job_stopped(s);
	} else if (WIFCONTINUED(status)) {
		s->job_stopped = false;
	} else {
		s->job_pid = 0;
		s->job_status = status;
	}
}

/*
 * An agent is put to death by the pager when its process ends. Should the
 * pager have missed one, it would be waited for here for ever.
 */
static void end_lone_agents(struct supervisor *s, const struct jobtree *t)
{
	uint64_t now = supervisor_now_ms();
	size_t nr = 0;
	pid_t *pid = NULL;

	if (jobtree_children(t, AGENT_NAME) <= 0) {
		s->agents_only_ms = 0;
		return;
	}
	if (!s->agents_only_ms)
		s->agents_only_ms = now;
	if (now - s->agents_only_ms < AGENTS_ONLY_MS || jobtree_list(t, &pid, &nr))
		return;
	for (size_t i = 0; i < nr; i++)
		kill(pid[i], SIGKILL);
	free(pid);
}

/* rmem is a subreaper: while a process of the job lives, it has a child. */
void job_ended_check(struct supervisor *s)
{
	struct jobtree t = supervisor_tree(s);
	int nr;

	if (s->job_pid)
		return;
	nr = jobtree_children(&t, NULL);
	if (nr >= 0)
		s->seen_ms = supervisor_now_ms();
	if (nr == 0)
		s->phase = PHASE_FINISHING;
	else if (nr > 0)
		end_lone_agents(s, &t);
	else if (!s->seen_ms)
		s->seen_ms = supervisor_now_ms();
	else if (supervisor_now_ms() - s->seen_ms > UNSEEN_MS)
		supervisor_lost(s, "its processes can't be listed");
}

int job_exit_status(const struct supervisor *s)
{
	if (s->cfg->attach_pid || !s->job_started)
		return 0;
	if (WIFSIGNALED(s->job_status))
		return 128 + WTERMSIG(s->job_status);
	return WEXITSTATUS(s->job_status);
}
