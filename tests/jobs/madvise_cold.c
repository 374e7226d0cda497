/* SPDX-License-Identifier: Apache-2.0 */
/* Threads read and write while another keeps calling their memory cold, which
 * clears the accessed bits: page table entries change at every moment that
 * pages are taken out. */
#include "job.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

#define THREADS 4
#define LOOKS	6000

static char *base;
static size_t nr;
static atomic_bool over;
static pthread_barrier_t written;

/* Pages of its own, in random order, each looked at for a while. */
static void *worker(void *arg)
{
	size_t part = nr / THREADS, first = (uintptr_t)arg * part;
	uint64_t rng = 77 + (uintptr_t)arg;

	pages_write(base + first * PG, first, part, 1);
	pthread_barrier_wait(&written);
	for (int i = 0; i < LOOKS; i++) {
		size_t k = first + job_rand(&rng) % part;
		volatile char *page = base + k * PG;

		for (int again = 0; again < 200; again++)
			(void)*page;
		page_check(base + k * PG, k, 1);
	}
	return NULL;
}

static void *cooler(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&written);
	while (!atomic_load(&over))
		madvise(base, nr * PG, MADV_COLD);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS], cool;

	job_init(argc, argv);
	nr = job_bytes / PG;
	base = job_map(nr * PG);
	madvise(base, nr * PG, MADV_NOHUGEPAGE);
	CHECK(pthread_barrier_init(&written, NULL, THREADS + 1) == 0);
	CHECK(pthread_create(&cool, NULL, cooler, NULL) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, worker, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	atomic_store(&over, true);
	pthread_join(cool, NULL);
	return job_done();
}
