/* SPDX-License-Identifier: Apache-2.0 */
/* The first thread ends, the others go on: /proc/PID/maps and statm of such a
 * process are empty and its leader is in no address space, but its remote pages
 * are still wanted. Then another thread replaces it all by exec.
 *
 * The leader lets go of its memory first, then closes its files, and is a zombie after that:
 * it has very many, so that it is seen in between. */
#include "job.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OPEN_MS 300

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

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* As many as may be, in a table of the thread's own: to close them takes tens of milliseconds. */
static void open_very_many(void)
{
	long until = now_ms() + OPEN_MS;
	struct rlimit most;

	CHECK(unshare(CLONE_FILES) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &most) == 0);
	most.rlim_cur = most.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &most) == 0);
	while (dup(STDERR_FILENO) >= 0 && now_ms() < until)
		;
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
	open_very_many();
	/* Not pthread_exit: the static build has no libgcc_s to unwind with. */
	for (;;)
		syscall(SYS_exit, 0);
}
