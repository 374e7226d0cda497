/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring reads and writes of remote buffers, many in flight, through a file
 * and a pipe, with eviction going on. */
#include "job.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STEP  16 /* pages a request */
#define DEPTH 32

static atomic_bool stop;

static void *presser(void *arg)
{
	(void)arg;
	while (!stop)
		job_pressure();
	return NULL;
}

static void reap(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int err;

	do
		err = io_uring_wait_cqe(ring, &cqe);
	while (err == -EINTR);
	CHECK(err == 0);
	if (err)
		exit(1);
	errno = cqe->res < 0 ? -cqe->res : 0;
	CHECK(cqe->res == STEP * PG);
	io_uring_cqe_seen(ring, cqe);
}

static void all(struct io_uring *ring, int fd, char *m, size_t nr, bool out)
{
	unsigned int busy = 0;

	for (size_t i = 0; i < nr; i += STEP) {
		struct io_uring_sqe *sqe;

		if (busy == DEPTH) {
			reap(ring);
			busy--;
		}
		sqe = io_uring_get_sqe(ring);
		if (out)
			io_uring_prep_write(sqe, fd, m + i * PG, STEP * PG, i * PG);
		else
			io_uring_prep_read(sqe, fd, m + i * PG, STEP * PG, i * PG);
		CHECK(io_uring_submit(ring) == 1);
		busy++;
	}
	while (busy--)
		reap(ring);
}

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX";
	struct io_uring ring;
	pthread_t t;

	job_init(argc, argv);

	size_t nr = job_half / PG / STEP * STEP;
	char *m = job_map(nr * PG);
	int fd = mkstemp(path);
	int err = io_uring_queue_init(DEPTH, &ring, 0);

	CHECK(fd >= 0 && unlink(path) == 0);
	if (err == -ENOSYS || err == -EPERM) {
		puts("io_uring: skipped, not allowed here");
		return 77;
	}
	CHECK(err == 0);
	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(pthread_create(&t, NULL, presser, NULL) == 0);
	all(&ring, fd, m, nr, true);
	pages_write(m, 0, nr, 2);
	all(&ring, fd, m, nr, false);
	stop = true;
	CHECK(pthread_join(t, NULL) == 0);
	io_uring_queue_exit(&ring);
	pages_check(m, 0, nr, 1);
	job_pressure();
	pages_check(m, 0, nr, 1);
	return job_done();
}
