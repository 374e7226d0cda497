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
 * sessions (sched/autogroup.c): alone in its session, a task is one among as many
 * as there are sessions. On a busy machine the pager then waited for a hundred
 * milliseconds while the job grew past its cap. So the group gets the value too;
 * pager and agents each have a session of their own. Not a real-time policy: a
 * pager that evicts all the time would leave nothing to others.
 */
void priority_first(pid_t pid)
{
	char path[64], nice[8];
	int fd, n;

	setpriority(PRIO_PROCESS, (id_t)pid, FIRST_NICE);
	snprintf(path, sizeof(path), "/proc/%d/autogroup", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* there are no such groups */
	n = snprintf(nice, sizeof(nice), "%d", FIRST_NICE);
	if (write(fd, nice, (size_t)n) != n)
		log_debug("process %d: its session has no nice value", pid);
	close(fd);
}

void priority_apart(struct aspace *sp)
{
	int here = sched_getcpu();
	cpu_set_t apart = sp->cpus;

	if (here < 0 || here == sp->not_cpu || here >= CPU_SETSIZE)
		return;
	CPU_CLR(here, &apart);
	if (CPU_COUNT(&apart) && !sched_setaffinity(sp->agent.pid, sizeof(apart), &apart))
		sp->not_cpu = here;
}
