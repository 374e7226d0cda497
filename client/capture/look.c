/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum look look_at_thread(pid_t pid, pid_t tid, long *call)
{
	char path[64], text[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? LOOK_GONE : LOOK_UNKNOWN;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0) /* nothing: it has ended; an error: it can't be told */
		return n == 0 || errno == ESRCH ? LOOK_GONE : LOOK_UNKNOWN;
	text[n] = '\0';
	if (!strncmp(text, "running", strlen("running")))
		return LOOK_RUNNING;
	*call = strtol(text, NULL, 10);
	return LOOK_ASLEEP;
}
