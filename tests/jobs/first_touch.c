/* SPDX-License-Identifier: Apache-2.0 */
/* A job that allocates as fast as it can: two threads store one word to each
 * page and nothing else. The cap has to hold all the while; whoever runs this
 * samples it from outside. Then every word is read. */
#include "job.h"

#include <pthread.h>
#include <sys/mman.h>

#define THREADS 2

static uint64_t *m;
static size_t nr;

static void *touch(void *arg)
{
	size_t me = (uintptr_t)arg, part = nr / THREADS;

	for (size_t i = me * part; i < (me + 1) * part; i++)
		m[i * (PG / 8)] = i + 1;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];

	job_init(argc, argv);
	nr = job_bytes / PG & ~1UL;
	m = job_map(job_bytes);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, touch, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < nr; i++)
		if (m[i * (PG / 8)] != i + 1 || m[i * (PG / 8) + 1] != 0)
			job_fail("page %zu: wrong word", i);
	CHECK(munmap(m, job_bytes) == 0);
	m = job_map(3 * PG);
	page_write(m, 1, 1);
	page_check(m, 1, 1);
	return job_done();
}
