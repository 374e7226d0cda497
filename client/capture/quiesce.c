/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/quiesce.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "client/capture/ptrace.h"

#define STOP_MS 100U

enum where { ELSEWHERE, IN_MADVISE, RUNNING };

static enum where look_at(pid_t pid, pid_t tid)
{
	char path[64], text[256];
	ssize_t n;
	long call;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? ELSEWHERE : IN_MADVISE;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0) /* nothing: it has ended; an error: it can't be told */
		return n == 0 || errno == ESRCH ? ELSEWHERE : IN_MADVISE;
	text[n] = '\0';
	if (!strncmp(text, "running", strlen("running")))
		return RUNNING;
	call = strtol(text, NULL, 10);
	return call == SYS_madvise || call == SYS_process_madvise ? IN_MADVISE : ELSEWHERE;
}

static int pass(pid_t tid)
{
	struct tracee t = {.tid = tid, .deadline_ns = tracee_now_ns() + STOP_MS * 1000000ULL};
	int err = tracee_stop(&t, STOP_MS);

	if (!err)
		err = tracee_release(&t);
	if (err == -ESRCH)
		return 0; /* ended: in no call any more */
	return err ? -EAGAIN : 0;
}

struct look {
	pid_t pid;
	int ret;
};

static void *look_at_all(void *arg)
{
	struct look *l = arg;
	pid_t *tids = NULL;
	size_t nr = 0;

	l->ret = proc_tids(l->pid, &tids, &nr);
	for (size_t i = 0; !l->ret && i < nr; i++) {
		switch (look_at(l->pid, tids[i])) {
		case RUNNING:
			l->ret = pass(tids[i]);
			break;
		case IN_MADVISE:
			l->ret = -EAGAIN;
			break;
		case ELSEWHERE:
			break;
		}
	}
	free(tids);
	return NULL;
}

int quiesce_process(pid_t pid)
{
	struct look l = {.pid = pid};
	pthread_t thread;

	/* Whatever ptrace still holds is let go with the thread. */
	if (pthread_create(&thread, NULL, look_at_all, &l))
		return -EAGAIN;
	pthread_join(thread, NULL);
	return l.ret;
}
