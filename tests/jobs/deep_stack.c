/* SPDX-License-Identifier: Apache-2.0 */
/* Deep recursion on the main stack and on thread stacks, with pressure at the
 * bottom and on the way back up. */
#include "job.h"

#include <pthread.h>

#define DEPTH	 1200
#define THREADS	 8
#define THREAD_K 64

static void descend(uint64_t level, uint64_t bottom, uint64_t id, bool press)
{
	char frame[PG];

	page_write(frame, level, id);
	if (level < bottom)
		descend(level + 1, bottom, id, press);
	else if (press)
		job_pressure();
	page_check(frame, level, id);
}

static pthread_barrier_t gate;

static void *thread(void *arg)
{
	char frame[16 * PG];
	uint64_t id = (uintptr_t)arg;

	pages_write(frame, 0, 16, id);
	descend(0, THREAD_K, id, false);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	pages_check(frame, 0, 16, id);
	descend(0, THREAD_K, id, false);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];

	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)(i + 1)) == 0);
	pthread_barrier_wait(&gate);
	descend(0, DEPTH, 77, true);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	pages_check(m, 0, nr, 1);
	descend(0, DEPTH, 78, false);
	return job_done();
}
