/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever works inside a process to evict its pages is nobody's child: wait(2)
 * says ECHILD at once when there are none, before, under and after pressure, in
 * the process and in its parent; no descriptor that the job did not open shows
 * up. JOB_CORRUPT: child */
#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"

static void no_child(void)
{
	int st;

	CHECK(waitpid(-1, &st, WNOHANG) == -1 && errno == ECHILD);
	errno = 0;
}

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void work(void)
{
	size_t nr = job_half / PG;
	char *m = job_map(job_half);
	int fds = open_fds();

	no_child();
	pages_write(m, 0, nr, 1);
	for (int i = 0; i < 2; i++) {
		job_pressure();
		no_child();
		CHECK(open_fds() == fds);
		pages_check(m, 0, nr, 1);
	}
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	pid_t pid = fork();

	if (pid == 0) {
		work();
		job_child_exit();
	}
	job_reap(pid);
	no_child();
	return job_done();
}
