/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon: forks twice, leaves its session, closes every descriptor, works on
 * with the remote pages it inherited, and leaves its result in a file after its
 * first parent has ended. JOB_CORRUPT: child */
#include "job.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void daemon_main(char *m, size_t nr, const char *path)
{
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	CHECK(chdir("/") == 0);
	usleep(100000); /* the parent in between is gone */
	pages_check(m, 0, nr, 1);
	pages_write(m, 0, nr, 2);
	job_pressure();
	pages_check(m, 0, nr, 2);

	int fd = open(path, O_WRONLY);
	const char *word = job_failures() ? "bad" : "good";

	if (write(fd, word, strlen(word)) < 0)
		_exit(1);
	_exit(0);
}

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX", word[8] = {0};

	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	pages_write(m, 0, nr, 1);
	job_pressure();

	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		if (fork() == 0)
			daemon_main(m, nr, path);
		_exit(0);
	}
	job_reap(pid);
	for (int i = 0; i < 6000 && pread(fd, word, 7, 0) <= 0; i++)
		usleep(10000);
	usleep(50000);
	CHECK(strcmp(word, "good") == 0);
	pages_check(m, 0, nr, 1);
	unlink(path);
	return job_done();
}
