/* SPDX-License-Identifier: Apache-2.0 */
/* 32 threads touch the same remote page at the same moment, again and again:
 * every one of them sees the same bytes, and each adds its share. */
#include "job.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 32
#define SPOTS	200

static char *m;
static size_t nr;
static pthread_barrier_t gate;

static size_t spot(int round, int i)
{
	return ((size_t)i * 7919 + (size_t)round * 13) % (nr / 2) * 2;
}

static void *storm(void *arg)
{
	(void)arg;
	for (int round = 0; round < 2; round++) {
		pthread_barrier_wait(&gate); /* main has pressed everything out */
		for (int i = 0; i < SPOTS; i++) {
			char *p = m + spot(round, i) * PG;

			pthread_barrier_wait(&gate);
			page_check(p, spot(round, i), 1);
			atomic_fetch_add((atomic_ulong *)(p + PG), 1);
		}
		pthread_barrier_wait(&gate);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];

	job_init(argc, argv);
	nr = job_half / PG & ~1UL;
	m = job_map(nr * PG);
	for (size_t i = 0; i < nr; i += 2)
		page_write(m + i * PG, i, 1);
	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, storm, NULL) == 0);
	for (int round = 0; round < 2; round++) {
		job_pressure();
		pthread_barrier_wait(&gate);
		for (int i = 0; i < SPOTS; i++)
			pthread_barrier_wait(&gate);
		pthread_barrier_wait(&gate);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);

	unsigned long sum = 0;

	for (size_t i = 1; i < nr; i += 2)
		sum += *(unsigned long *)(m + i * PG);
	CHECK(sum == 2UL * SPOTS * THREADS);
	return job_done();
}
