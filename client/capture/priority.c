/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs before the job: what pager, injector and agents do is short, and the
 * job waits for it. Where the permission is missing they run beside it. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "common/base/log.h"

#define FIRST_NICE (-15)

/*
 * A nice value counts only within a session where the kernel groups tasks by
 * sessions (autogroup), so on a busy machine the pager would wait for a hundred
 * milliseconds while the job grows past its cap.
 */
void priority_first(void)
{
	const struct sched_param first = {.sched_priority = 1};

	if (sched_setscheduler(0, SCHED_FIFO, &first))
		setpriority(PRIO_PROCESS, 0, FIRST_NICE);
}

/* The agent is in a session, and so in a group, of its own. */
void priority_of_agent(pid_t pid)
{
	char path[64], nice[8];
	int fd, n;

	/* Its task was hurried while it was made. */
	sched_setscheduler(pid, SCHED_OTHER, &(struct sched_param){0});
	setpriority(PRIO_PROCESS, (id_t)pid, FIRST_NICE);
	snprintf(path, sizeof(path), "/proc/%d/autogroup", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* there are no such groups */
	n = snprintf(nice, sizeof(nice), "%d", FIRST_NICE);
	if (write(fd, nice, (size_t)n) != n)
		log_debug("agent %d: its group has no nice value", pid);
	close(fd);
}
