/* SPDX-License-Identifier: Apache-2.0 */
/* The first thread ends, the others go on: /proc/PID/maps and statm of such a
 * process are empty and its leader is in no address space, but its remote pages
 * are still wanted. Then another thread replaces it all by exec. */
#include "job.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *m;
static char **args;

static void wait_for_leader(void)
{
	char path[64], text[512];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
	for (;;) {
		FILE *f = fopen(path, "r");
		bool dead = !f || !fgets(text, sizeof(text), f) || strstr(text, ") Z");

		if (f)
			fclose(f);
		if (dead)
			return;
		usleep(1000);
	}
}

static void *last(void *arg)
{
	size_t nr = job_half / PG;

	(void)arg;
	wait_for_leader();
	usleep(300000); /* time for whoever watches to draw conclusions */
	for (uint64_t gen = 1; gen < 4; gen++) {
		pages_check(m, 0, nr, gen);
		pages_write(m, 0, nr, gen + 1);
		job_pressure();
	}
	pages_check(m, 0, nr, 4);
	if (job_failures())
		exit(job_done());
	execl("/proc/thread-self/exe", args[0], args[1], "again", NULL);
	job_fail("exec of a thread that is not the first");
	exit(1);
}

int main(int argc, char **argv)
{
	pthread_t t;

	job_init(argc, argv);

	size_t nr = job_half / PG;

	args = argv;
	m = job_map(job_half);
	pages_write(m, 0, nr, 1);
	job_pressure();
	if (strcmp(job_more, "again") == 0) {
		pages_check(m, 0, nr, 1);
		return job_done();
	}
	CHECK(argc > 1 && pthread_create(&t, NULL, last, NULL) == 0);
	/* Not pthread_exit: the static build has no libgcc_s to unwind with. */
	for (;;)
		syscall(SYS_exit, 0);
}
