/* SPDX-License-Identifier: Apache-2.0 */
/* For whoever kills things: three threads read and write random pages and a
 * child is forked now and then, for MORE milliseconds (2,000) or until it is told
 * to end (SIGTERM). A wrong page ends it at once. JOB_CORRUPT: main */
#include "job.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 3

static atomic_bool stop;

static void *worker(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	size_t nr = job_bytes / THREADS / PG;
	uint64_t *gen = job_map(nr * sizeof(*gen));
	char *m = job_map(nr * PG);

	pages_write(m, 0, nr, 0);
	while (!stop) {
		size_t i = job_rand(&rng) % nr, run = job_rand(&rng) % 32;

		for (size_t k = i; k < nr && k <= i + run && !stop; k++) {
			if (!page_check(m + k * PG, k, gen[k]))
				exit(1);
			if (rng & 256)
				page_write(m + k * PG, k, ++gen[k]);
		}
	}
	munmap(m, nr * PG);
	return NULL;
}

static void end_soon(int sig)
{
	(void)sig;
	stop = true;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];
	static char mine[256 * PG] __attribute__((aligned(4096)));

	job_init(argc, argv);

	uint64_t end = job_now_ns() + 1000000ULL * (uint64_t)(*job_more ? atoi(job_more) : 2000);

	pages_write(mine, 0, 256, 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, worker, (void *)(i + 1)) == 0);
	signal(SIGTERM, end_soon);
	while (!stop && job_now_ns() < end) {
		usleep(150000);
		pid_t pid = fork();

		if (pid == 0) {
			pages_check(mine, 0, 256, 1);
			job_child_exit();
		}
		job_reap(pid);
	}
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	return job_done();
}
