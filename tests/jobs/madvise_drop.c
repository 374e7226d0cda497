/* SPDX-License-Identifier: Apache-2.0 */
/* The job's own MADV_DONTNEED: zeros, also for remote pages and also while
 * eviction is under way; MADV_FREE: the old bytes or zeros, never others. */
#include "job.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

static atomic_bool stop;

static void *presser(void *arg)
{
	(void)arg;
	while (!stop)
		job_pressure();
	return NULL;
}

static void check_freed(const char *page, uint64_t no, uint64_t gen)
{
	static const char zero[PG];

	if (memcmp(page, zero, PG) != 0)
		page_check(page, no, gen);
}

int main(int argc, char **argv)
{
	pthread_t t;

	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(madvise(m, nr / 2 * PG, MADV_DONTNEED) == 0);
	pages_check_zero(m, nr / 2);
	pages_write(m, 0, nr / 2, 2);
	CHECK(pthread_create(&t, NULL, presser, NULL) == 0);
	for (uint64_t round = 3; round < 7; round++)
		for (size_t i = 0; i + 8 <= nr; i += 24) {
			CHECK(madvise(m + i * PG, 8 * PG, MADV_DONTNEED) == 0);
			pages_check_zero(m + i * PG, 8);
			pages_write(m + i * PG, i, 8, round);
		}
	stop = true;
	CHECK(pthread_join(t, NULL) == 0);
	for (size_t i = 0; i < nr / 24 * 24; i++)
		page_check(m + i * PG, i, i % 24 < 8 ? 6 : i < nr / 2 ? 2 : 1);
	pages_write(m, 0, nr, 8);
	job_pressure();
	CHECK(madvise(m, nr / 2 * PG, MADV_FREE) == 0);
	job_pressure();
	for (size_t i = 0; i < nr / 2; i++)
		check_freed(m + i * PG, i, 8);
	pages_check(m + nr / 2 * PG, nr / 2, nr - nr / 2, 8);
	pages_write(m, 0, nr / 2, 9);
	job_pressure();
	pages_check(m, 0, nr / 2, 9);
	return job_done();
}
