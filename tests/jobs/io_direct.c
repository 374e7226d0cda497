/* SPDX-License-Identifier: Apache-2.0 */
/* O_DIRECT from and to remote buffers while everything else is pressed out:
 * the device sees the right bytes, and the job sees the device's. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STEP 64 /* pages a call */

static atomic_bool stop;

static void *presser(void *arg)
{
	(void)arg;
	while (!stop)
		job_pressure();
	return NULL;
}

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX";
	pthread_t t;

	job_init(argc, argv);

	size_t nr = job_half / PG / STEP * STEP;
	char *m = job_map(nr * PG);
	int fd = mkstemp(path);

	close(fd);
	fd = open(path, O_RDWR | O_DIRECT);
	unlink(path);
	if (fd < 0 && errno == EINVAL) {
		puts("io_direct: skipped, no O_DIRECT on /var/tmp");
		return 77;
	}
	CHECK(fd >= 0);
	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(pthread_create(&t, NULL, presser, NULL) == 0);
	for (size_t i = 0; i < nr; i += STEP)
		CHECK(pwrite(fd, m + i * PG, STEP * PG, (off_t)(i * PG)) == STEP * PG);
	pages_write(m, 0, nr, 2);
	for (size_t i = 0; i < nr; i += STEP)
		CHECK(pread(fd, m + i * PG, STEP * PG, (off_t)(i * PG)) == STEP * PG);
	stop = true;
	CHECK(pthread_join(t, NULL) == 0);
	pages_check(m, 0, nr, 1);
	job_pressure();
	pages_check(m, 0, nr, 1);
	return job_done();
}
