/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_exporter: the process that answers Prometheus while a job runs.
 * Begun before the pager, with the state to read and nothing else: what it is
 * sent can harm neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_metrics.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "common/metrics/http.h"

static void let_go(void *ctx)
{
	struct supervisor *s = ctx;

	munmap(s->header, s->header->arena_bytes + RUN_HEADER_BYTES);
}

static int write_run(void *ctx, int fd, struct metrics_text *out)
{
	struct stats *st = calloc(1, sizeof(*st));
	int err = st ? stats_read(fd, st) : -ENOMEM;

	(void)ctx;
	if (!err)
		metrics_of_runs(out, st, 1);
	free(st);
	return err;
}

int exporter_open(struct supervisor *s)
{
	if (!s->cfg->metrics)
		return 0;
	s->exporter_fd = metrics_listen(s->cfg->metrics, s->exporter_at, sizeof(s->exporter_at));
	return s->exporter_fd < 0 ? s->exporter_fd : 0;
}

/* For reading only: it must not be able to change what the pager knows. */
static int open_to_read(int state_fd)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", state_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(-errno, "--metrics: %s", strerror(errno)) : fd;
}

int exporter_start(struct supervisor *s)
{
	struct metrics_server server = {
		.listen_fd = s->exporter_fd, .detach = let_go, .write = write_run, .ctx = s};
	pid_t pid;

	if (s->exporter_fd < 0)
		return 0;
	server.fd = open_to_read(s->state_fd);
	if (server.fd < 0)
		return server.fd;
	pid = metrics_start(&server);
	close(server.fd);
	close(s->exporter_fd);
	s->exporter_fd = -1;
	if (pid < 0)
		return pid;
	s->exporter_pid = s->header->exporter_pid = pid;
	print_line("metrics at http://%s/metrics", s->exporter_at);
	supervisor_event(s, json_pack("{s:s, s:s}", "event", "metrics", "address", s->exporter_at));
	return 0;
}

void exporter_end(struct supervisor *s)
{
	if (s->exporter_pid <= 0)
		return;
	kill(s->exporter_pid, SIGKILL);
	waitpid(s->exporter_pid, NULL, 0);
	s->exporter_pid = 0;
}
