/* SPDX-License-Identifier: Apache-2.0 */
/* MAP_FIXED over a managed range: zeros over remote pages, a file over remote
 * pages, anonymous memory over the file; many times, with eviction going on. */
#include "job.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPOT 64 /* pages */

static atomic_bool stop;

static void *presser(void *arg)
{
	(void)arg;
	while (!stop)
		job_pressure();
	return NULL;
}

static void over(void *at, int fd)
{
	int flags = MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);

	CHECK(mmap(at, SPOT * PG, PROT_READ | PROT_WRITE, flags, fd, 0) == at);
}

int main(int argc, char **argv)
{
	pthread_t t;
	char buf[PG];
	int fd = memfd_create("job", MFD_CLOEXEC);

	job_init(argc, argv);
	for (size_t i = 0; i < SPOT; i++) {
		page_write(buf, i, 9);
		CHECK(pwrite(fd, buf, PG, (off_t)(i * PG)) == (ssize_t)PG);
	}

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	CHECK(pthread_create(&t, NULL, presser, NULL) == 0);
	for (uint64_t round = 0; round < 4; round++)
		for (size_t i = 0; i + SPOT <= nr; i += 4 * SPOT) {
			char *at = m + i * PG;

			pages_check(at, i, SPOT, round + 1);
			over(at, -1);
			pages_check_zero(at, SPOT / 2);
			over(at, fd);
			pages_check(at, 0, SPOT, 9);
			over(at, -1);
			pages_check_zero(at, SPOT);
			pages_write(at, i, SPOT, round + 2);
		}
	stop = true;
	CHECK(pthread_join(t, NULL) == 0);
	for (size_t i = 0; i < nr; i++)
		page_check(m + i * PG, i,
			   i / SPOT % 4 == 0 && i / SPOT * SPOT + SPOT <= nr ? 5 : 1);
	return job_done();
}
