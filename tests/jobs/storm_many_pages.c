/* SPDX-License-Identifier: Apache-2.0 */
/* 16 threads, each on pages of its own and all on common ones, in random
 * order, reading and writing, with far more memory than the cap. MORE: how often each
 * (6,000). */
#include "job.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS 16

static char *own_base, *common;
static size_t own_nr, common_nr;

static void *worker(void *arg)
{
	int times = *job_more ? atoi(job_more) : 6000;
	uint64_t rng = 1000 + (uintptr_t)arg;
	size_t first = (uintptr_t)arg * own_nr;
	char *own = own_base + first * PG;
	uint64_t *gen = job_map(own_nr * sizeof(*gen));

	pages_write(own, first, own_nr, 0);
	for (int i = 0; i < times; i++) {
		size_t k = job_rand(&rng) % own_nr, c = job_rand(&rng) % common_nr;

		page_check(own + k * PG, first + k, gen[k]);
		if (i % 2)
			page_write(own + k * PG, first + k, ++gen[k]);
		page_check(common + c * PG, c, 5);
	}
	for (size_t k = 0; k < own_nr; k++)
		page_check(own + k * PG, first + k, gen[k]);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];

	job_init(argc, argv);
	common_nr = job_half / PG;
	own_nr = job_half / PG / THREADS;
	common = job_map(job_half);
	own_base = job_map(job_half);
	pages_write(common, 0, common_nr, 5);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, worker, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	return job_done();
}
