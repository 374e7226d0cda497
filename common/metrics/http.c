/* SPDX-License-Identifier: Apache-2.0 */
#include "common/metrics/http.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/err.h"

#define NOBODY	      65534U
#define CONNECTIONS   16U
#define TIMEOUT_S     10U
#define MEMORY_BYTES  ((size_t)16 << 10) /* a connection's; a request is far smaller */
#define LOOK_MS	      1000
#define LISTEN_AT     3 /* descriptors in the new process */
#define FD_AT	      4
#define FIRST_FREE_AT 5U

static const char page[] = "rmem: see /metrics\n";

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned int status, const char *text)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type", "text/plain; charset=utf-8");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, HEAD");
	ok = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result answer_metrics(struct MHD_Connection *c, const struct metrics_server *s)
{
	struct metrics_text text = {.buf = NULL};
	int err = s->write(s->ctx, FD_AT, &text);
	struct MHD_Response *r;
	enum MHD_Result ok;

	if (err || text.failed || !text.buf) {
		metrics_text_fini(&text);
		return answer_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, "no numbers now\n");
	}
	/* From here on the response owns the text. */
	r = MHD_create_response_from_buffer(text.bytes, text.buf, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		metrics_text_fini(&text);
		return MHD_NO;
	}
	MHD_add_response_header(r, "Content-Type", METRICS_CONTENT_TYPE);
	ok = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_bytes, void **seen)
{
	static int mark;

	(void)version;
	(void)upload;
	if (!*seen) { /* the head is there; MHD wants the answer at the next call */
		*seen = &mark;
		return MHD_YES;
	}
	if (*upload_bytes) { /* a body: not read, and refused below */
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
	if (!strcmp(url, "/metrics"))
		return answer_metrics(c, ctx);
	return answer_text(c, strcmp(url, "/") ? MHD_HTTP_NOT_FOUND : MHD_HTTP_OK, page);
}

/* ---- the process ---- */

/* Each step where it can be done; a container may not know the user. */
static void drop_rights(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}, {0}};

	if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
			       setresuid(NOBODY, NOBODY, NOBODY)))
		errno = 0;
	syscall(SYS_capset, &head, none);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Nothing is kept open but the two it needs. */
static bool move_fds(int listen_fd, int fd)
{
	int null_fd = open("/dev/null", O_RDWR);
	int a = fcntl(listen_fd, F_DUPFD, FIRST_FREE_AT);
	int b = fd < 0 ? null_fd : fcntl(fd, F_DUPFD, FIRST_FREE_AT);

	if (null_fd < 0 || a < 0 || b < 0)
		return false;
	for (int i = 0; i <= 2; i++)
		if (dup2(null_fd, i) < 0)
			return false;
	if (dup2(a, LISTEN_AT) < 0 || dup2(b, FD_AT) < 0)
		return false;
	return !syscall(SYS_close_range, FIRST_FREE_AT, ~0U, 0);
}

static _Noreturn void serve(const struct metrics_server *s, pid_t parent)
{
	struct MHD_Daemon *d;

	prctl(PR_SET_NAME, "rmem-metrics");
	signal(SIGPIPE, SIG_IGN);
	setsid();
	if (!move_fds(s->listen_fd, s->fd))
		_exit(EXIT_FAILURE);
	if (s->detach)
		s->detach(s->ctx);
	drop_rights();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user undoes it: after that */
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
	d = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, (void *)s,
			     MHD_OPTION_LISTEN_SOCKET, LISTEN_AT, MHD_OPTION_CONNECTION_LIMIT,
			     CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
			     MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_BYTES, MHD_OPTION_END);
	while (d && MHD_run_wait(d, LOOK_MS) == MHD_YES)
		;
	_exit(EXIT_FAILURE);
}

pid_t metrics_start(const struct metrics_server *server)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return err_set(-errno, "no process for --metrics: %s", strerror(errno));
	if (pid == 0)
		serve(server, parent);
	return pid;
}
