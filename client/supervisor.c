/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor: the parent of everything in one run of rmem. It owns the shared
 * state, starts pager, private server and job, and stays until the last
 * process of the job has ended. It holds every descriptor the pager holds:
 * should the pager die, remote pages block instead of reading as zeros, and
 * the job is stopped loudly.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_path.h"
#include "client/supervisor_print.h"
#include "client/supervisor_probe.h"
#include "client/supervisor_stats.h"
#include "common/base/err.h"

#define START_MS  60000
#define FINISH_MS 10000
#define KILL_MS	  5000
#define PRINT_MS  2000
#define TICK_MS	  100
#define LOOK_MS	  1000 /* has rmem ctl changed something, is the pager alive? */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t supervisor_now_ms(void)
{
	return now_ns() / 1000000;
}

void supervisor_event(struct supervisor *s, json_t *obj)
{
	char *text = s->cfg->json_status_fd >= 0 && obj ? json_dumps(obj, JSON_COMPACT) : NULL;
	char *line;

	json_decref(obj);
	if (text && asprintf(&line, "%s\n", text) >= 0) {
		print_text(s->cfg->json_status_fd, line);
		free(line);
	}
	free(text);
}

void supervisor_fail(struct supervisor *s, int status, const char *fmt, ...)
{
	va_list ap;

	s->phase = PHASE_FINISHING;
	if (s->failed)
		return;
	s->failed = true;
	s->exit_status = status;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
}

struct jobtree supervisor_tree(struct supervisor *s)
{
	struct jobtree t = {.root = getpid()};

	spares_skip(s);
	t.skip = s->skip;
	t.nr_skip = s->nr_skip;
	if (s->cfg->attach_pid) {
		t.root = s->cfg->attach_pid;
		t.with_root = true;
	}
	return t;
}

static void reap_for_kill(void *ctx)
{
	supervisor_reap(ctx);
}

void supervisor_lost(struct supervisor *s, const char *why)
{
	struct jobtree t = supervisor_tree(s);

	if (s->failed)
		return;
	supervisor_fail(s, RUN_EXIT_FAILED, "job stopped: %s", why);
	if (s->cfg->attach_pid && !s->job_pid)
		t.with_root = false;
	if (jobtree_kill(&t, KILL_MS, reap_for_kill, s)) {
		if (s->job_pid)
			kill(s->job_pid, SIGKILL); /* who could not be listed is not known */
		print_line("some processes of the job could not be killed");
	}
	supervisor_event(s, json_pack("{s:s, s:s}", "event", "lost", "reason", why));
}

static void skip_del(struct supervisor *s, pid_t pid)
{
	for (size_t i = 0; i < s->nr_skip; i++)
		if (s->skip[i] == pid)
			s->skip[i] = s->skip[--s->nr_skip];
}

void supervisor_skip(struct supervisor *s, pid_t pid)
{
	skip_del(s, pid); /* not twice */
	if (pid > 0 && s->nr_skip < SUPERVISOR_MAX_SKIP)
		s->skip[s->nr_skip++] = pid;
}

/* A thread of the job may be stopped, and in the middle of a call that is not its own. */
static void injector_died(struct supervisor *s)
{
	s->header->injector_pid = 0;
	if (s->phase == PHASE_RUNNING)
		s->injector_lost = true;
}

static const char *how_ended(char *buf, size_t bytes, const char *who, int status)
{
	if (WIFSIGNALED(status))
		snprintf(buf, bytes, "%s was killed by signal %d", who, WTERMSIG(status));
	else
		snprintf(buf, bytes, "%s ended with status %d", who, WEXITSTATUS(status));
	return buf;
}

/* What becomes of the job the pager says, which finds its pages gone. */
static void server_died(struct supervisor *s, int status)
{
	char how[64];

	s->server_pid = 0;
	if (s->phase == PHASE_RUNNING)
		print_line("%s", how_ended(how, sizeof(how), "the private rmemd", status));
}

void supervisor_reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		job_reaped(s, pid, status);
		if (WIFSTOPPED(status) || WIFCONTINUED(status))
			continue;
		skip_del(s, pid);
		if (pid == s->server_pid)
			server_died(s, status);
		if (pid == s->exporter_pid) {
			s->exporter_pid = 0;
			print_line("metrics are no longer served: their process has ended");
		}
		for (unsigned int i = 0; i < RUN_SPARES; i++)
			if (pid == s->header->spare_pid[i])
				s->header->spare_pid[i] = 0;
		if (pid == s->header->injector_pid)
			injector_died(s);
		if (pid == s->pager_pid) {
			s->pager_pid = 0;
			s->pager_status = status;
		}
	}
}

/* ---- starting ---- */

/* Children that rmem got from whoever exec'd it are not the job's. */
static int skip_older_children(struct supervisor *s)
{
	struct jobtree t = {.root = getpid()};
	pid_t *pid = NULL;
	size_t nr = 0;
	int err = jobtree_list(&t, &pid, &nr);

	for (size_t i = 0; i < nr; i++)
		supervisor_skip(s, pid[i]);
	free(pid);
	return err ? err_set(err, "processes can't be listed: %s", strerror(-err)) : 0;
}

static void header_fill(struct supervisor *s, uint64_t state_bytes)
{
	struct run_header *h = s->header;
	size_t at = 0;

	h->magic = RUN_MAGIC;
	h->version = RUN_VERSION;
	h->supervisor_pid = getpid();
	h->local_bytes = s->cfg->local_bytes;
	h->remote_bytes = s->cfg->remote_bytes;
	if (s->cfg->here)
		h->cap = RUN_CAP_HERE;
	else if (s->cfg->local_auto)
		h->cap = RUN_CAP_AUTO;
	h->start_ns = s->start_ns;
	h->arena_bytes = state_bytes - RUN_HEADER_BYTES;
	for (char **arg = s->cfg->argv; arg && *arg && at < sizeof(h->cmdline) - 1; arg++)
		at += (size_t)snprintf(h->cmdline + at, sizeof(h->cmdline) - at, "%s%s",
				       at ? " " : "", *arg);
	if (s->cfg->attach_pid)
		snprintf(h->cmdline, sizeof(h->cmdline), "(attached to %d)", s->cfg->attach_pid);
}

static int state_open(struct supervisor *s)
{
	uint64_t bytes = pager_state_bytes(s->cfg);

	s->state_fd = memfd_create("rmem-state", MFD_CLOEXEC);
	if (s->state_fd < 0 || ftruncate(s->state_fd, (off_t)bytes))
		return err_set(-errno, "no shared memory for the page records: %s",
			       strerror(errno));
	s->header = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			 s->state_fd, 0);
	if (s->header == MAP_FAILED) {
		s->header = NULL;
		return err_set(-errno,
			       "no address space for the page records: %s: raise ulimit -v, or"
			       " lower --remote",
			       strerror(errno));
	}
	header_fill(s, bytes);
	return 0;
}

static int ctl_open(struct supervisor *s)
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sock))
		return err_set(-errno, "no socket for the pager: %s", strerror(errno));
	s->ctl_fd = sock[0];
	s->pager_ctl_fd = sock[1];
	s->self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (s->self_pidfd < 0)
		return err_set(-errno, "pidfd_open: %s", strerror(errno));
	return 0;
}

/* Everything that can be refused without having started anything. */
static int supervisor_check(struct supervisor *s)
{
	int err = s->cfg->attach_pid ? 0 : path_lookup(s->cfg->argv[0]);

	if (err) {
		s->exit_status = err == -ENOENT ? RUN_EXIT_NOTFOUND : RUN_EXIT_NOEXEC;
		return err;
	}
	if (s->cfg->stats_path) {
		err = stats_file_check(s->cfg->stats_path);
		if (err)
			return err;
	}
	err = exporter_open(s);
	return err ? err : probe_open_device(&s->dev_fd);
}

static int supervisor_open(struct supervisor *s)
{
	int err = supervisor_check(s);

	if (!err)
		err = signal_open(s);
	if (!err)
		err = state_open(s);
	if (!err)
		err = ctl_open(s);
	if (err)
		return err;
	if (s->cfg->json_status_fd > STDERR_FILENO)
		fcntl(s->cfg->json_status_fd, F_SETFD, FD_CLOEXEC);
	err = skip_older_children(s);
	if (err)
		return err;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		return err_set(-errno, "prctl: %s", strerror(errno));
	if (s->cfg->nr_servers == 0)
		err = server_start(s);
	s->header->server_pid = s->server_pid;
	supervisor_skip(s, s->server_pid);
	if (!err)
		err = exporter_start(s);
	supervisor_skip(s, s->exporter_pid);
	if (!err)
		err = pager_start(s);
	supervisor_skip(s, s->pager_pid);
	print_open(); /* a thread: only after the pager was cloned */
	return err;
}

/* ---- the loop ---- */

static void pager_died(struct supervisor *s)
{
	const char *why_not;
	char how[64], why[160];

	pager_read(s); /* its last words */
	if (s->failed || s->pager_finished)
		return;
	how_ended(how, sizeof(how), "the pager", s->pager_status);
	if (s->phase == PHASE_STARTING) {
		supervisor_fail(s, RUN_EXIT_FAILED, "%s", how);
		return;
	}
	if (s->phase == PHASE_FINISHING) /* the job needs nobody any more */
		return;
	if (pager_replace(s, how, &why_not))
		return;
	snprintf(why, sizeof(why), "%s, and no other can take over: %s", how, why_not);
	supervisor_lost(s, why);
}

/* A round of the loop: waits for something to happen, then sees to it. */
static void supervisor_round(struct supervisor *s, int timeout_ms)
{
	struct pollfd p[] = {
		{.fd = s->sig_fd, .events = POLLIN},
		{.fd = s->ctl_fd, .events = POLLIN},
		{.fd = s->server_log_fd, .events = POLLIN},
		{.fd = s->job_exec_fd, .events = POLLIN},
		{.fd = s->job_pidfd, .events = POLLIN},
	};

	if (poll(p, sizeof(p) / sizeof(p[0]), timeout_ms) < 0)
		return;
	if (p[1].revents)
		pager_read(s);
	if (p[2].revents)
		server_read(s);
	if (p[3].revents)
		job_exec_read(s);
	if (p[0].revents)
		signal_read(s);
	if (s->injector_lost && s->phase == PHASE_RUNNING)
		supervisor_lost(s, "what places agents in its processes has died");
	if (!s->pager_pid)
		pager_died(s);
}

static void supervisor_wait_ready(struct supervisor *s)
{
	uint64_t end_ms = supervisor_now_ms() + START_MS;

	while (s->phase == PHASE_STARTING) {
		supervisor_round(s, TICK_MS);
		if (s->phase == PHASE_STARTING && supervisor_now_ms() > end_ms)
			supervisor_fail(s, RUN_EXIT_FAILED, "the pager was not ready after %d s",
					START_MS / 1000);
	}
}

static int round_ms(const struct supervisor *s)
{
	if (!s->job_pid)
		return TICK_MS;
	return cap_is_auto(s) ? (int)ELASTIC_TICK_MS : LOOK_MS;
}

static void supervisor_run(struct supervisor *s)
{
	bool attached = s->cfg->attach_pid;

	while (s->phase == PHASE_RUNNING) {
		supervisor_round(s, round_ms(s));
		cap_tick(s);
		watchdog_tick(s);
		if (s->phase != PHASE_RUNNING)
			break;
		if (attached)
			attach_ended_check(s);
		else
			job_ended_check(s);
	}
}

static void supervisor_finish(struct supervisor *s)
{
	uint64_t end_ms = supervisor_now_ms() + FINISH_MS;

	s->phase = PHASE_FINISHING;
	if (s->pager_pid && !s->header->job_pid)
		kill(s->pager_pid, SIGKILL); /* it may be waiting for a server */
	else if (s->pager_pid)
		ctl_send(s->ctl_fd, CTL_FINISH, 0, NULL);
	while (s->pager_pid && !s->pager_finished && supervisor_now_ms() < end_ms)
		supervisor_round(s, TICK_MS);
	pager_helpers_end(s);
	pager_end(s);
	server_end(s);
	exporter_end(s);
}

/* ---- the end ---- */

static void summary_line(void *ctx, const char *text)
{
	(void)ctx;
	print_text(STDERR_FILENO, text);
}

static void report(struct supervisor *s)
{
	struct stats st;
	int err = stats_read(s->state_fd, &st);

	if (err) {
		print_line("no statistics: %s", err_text(err));
		return;
	}
	st.ended = true;
	st.wall_ns = now_ns() - s->start_ns;
	st.exit_status = s->exit_status;
	st.reason = s->failed ? s->why : NULL;
	if (s->cfg->stats_path) {
		err = stats_file_write(s->cfg->stats_path, &st);
		if (err)
			print_line("%s", err_text(err));
	}
	if (s->cfg->summary)
		stats_table(&st, summary_line, NULL);
}

static void supervisor_close(struct supervisor *s)
{
	if (s->failed)
		print_line("%s", s->why);
	else if (s->job_started || s->cfg->attach_pid)
		s->exit_status = job_exit_status(s);
	if (s->header && s->header->job_pid)
		report(s);
	supervisor_event(s, json_pack("{s:s, s:i}", "event", "exit", "status", s->exit_status));
	print_close(PRINT_MS);
}

int supervisor_main(const struct run_config *cfg)
{
	struct supervisor s = {
		.cfg = cfg,
		.state_fd = -1,
		.dev_fd = -1,
		.ctl_fd = -1,
		.pager_ctl_fd = -1,
		.self_pidfd = -1,
		.sig_fd = -1,
		.server_sock = -1,
		.server_log_fd = -1,
		.exporter_fd = -1,
		.job_exec_fd = -1,
		.job_pidfd = -1,
		.start_ns = now_ns(),
		.exit_status = RUN_EXIT_FAILED,
	};
	int err = supervisor_open(&s);

	if (!err)
		supervisor_wait_ready(&s);
	if (!err && s.phase == PHASE_RUNNING)
		err = cfg->attach_pid ? attach_start(&s) : job_start(&s);
	if (err)
		supervisor_fail(&s, s.exit_status, "%s", err_text(err));
	supervisor_run(&s);
	supervisor_finish(&s);
	supervisor_close(&s);
	signal_die_alike(&s);
	return s.exit_status;
}
