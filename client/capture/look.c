/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/proc.h"

#define PF_IO_WORKER 0x10UL /* include/linux/sched.h */

static ssize_t read_of(pid_t pid, pid_t tid, const char *what, char *text, size_t bytes)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, bytes - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/* Of its name any may be in it: what follows the last parenthesis is looked at. */
static bool read_stat(pid_t pid, pid_t tid, char *state, unsigned long *flags)
{
	char text[512], *end;

	if (read_of(pid, tid, "stat", text, sizeof(text)) <= 0)
		return false;
	end = strrchr(text, ')');
	return end && sscanf(end, ") %c %*d %*d %*d %*d %*d %lu", state, flags) == 2;
}

bool look_is_brief(pid_t pid, pid_t tid)
{
	unsigned long flags;
	char state;

	return !read_stat(pid, tid, &state, &flags) || (state == 'D' && !(flags & PF_IO_WORKER));
}

bool look_is_over(pid_t pid, pid_t tid)
{
	unsigned long flags;
	char state;

	return !read_stat(pid, tid, &state, &flags) || state == 'Z' || state == 'X';
}

bool look_is_worker(pid_t pid, pid_t tid)
{
	unsigned long flags;
	char state;

	return read_stat(pid, tid, &state, &flags) && flags & PF_IO_WORKER;
}

uint64_t look_ran_ns(pid_t pid, pid_t tid)
{
	char text[96];

	return read_of(pid, tid, "schedstat", text, sizeof(text)) > 0 ? strtoull(text, NULL, 10)
								      : 0;
}

bool look_waits_at(pid_t pid, pid_t tid, const char *function)
{
	char text[64];

	return read_of(pid, tid, "wchan", text, sizeof(text)) > 0 && !strcmp(text, function);
}

/* Who is being woken, as by the page that we have just brought, and has no processor yet, is
 * asleep to "syscall" (TASK_WAKING, on no queue: wait_task_inactive()), and not to "stat". */
enum look look_at_thread(pid_t pid, pid_t tid, long *call)
{
	char text[256], state;
	unsigned long flags;
	ssize_t n = read_of(pid, tid, "syscall", text, sizeof(text));

	if (n <= 0) /* nothing: it has ended; an error: it can't be told */
		return !n || n == -ENOENT || n == -ESRCH ? LOOK_GONE : LOOK_UNKNOWN;
	if (!strncmp(text, "running", strlen("running")) ||
	    (read_stat(pid, tid, &state, &flags) && state == 'R'))
		return LOOK_RUNNING;
	*call = strtol(text, NULL, 10);
	return LOOK_ASLEEP;
}

/* 1: it waits inside a call that makes a process; 0; -errno. */
static int waits_in_fork(pid_t pid, pid_t tid)
{
	char text[256], *end;
	ssize_t n = read_of(pid, tid, "syscall", text, sizeof(text));
	long call;

	if (n <= 0)
		return !n || n == -ENOENT || n == -ESRCH ? 0 : (int)n;
	call = strtol(text, &end, 10);
	return end > text &&
	       (call == SYS_fork || call == SYS_vfork || call == SYS_clone || call == SYS_clone3);
}

int look_in_fork(pid_t pid)
{
	pid_t *tids = NULL;
	size_t nr = 0;
	int ret = proc_tids(pid, &tids, &nr);

	for (size_t i = 0; !ret && i < nr; i++)
		ret = waits_in_fork(pid, tids[i]);
	free(tids);
	return ret;
}
