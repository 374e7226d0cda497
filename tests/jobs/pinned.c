/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned pages: io_uring's registered buffers, registered while they are
 * remote. Device and job must go on seeing the same memory, whatever leaves
 * around them. */
#include "job.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PINNED (4 * MIB)

static void do_one(struct io_uring *ring, int fd, char *buf, bool out)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;

	if (out)
		io_uring_prep_write_fixed(sqe, fd, buf, PINNED, 0, 0);
	else
		io_uring_prep_read_fixed(sqe, fd, buf, PINNED, 0, 0);
	CHECK(io_uring_submit(ring) == 1);
	CHECK(io_uring_wait_cqe(ring, &cqe) == 0);
	CHECK(cqe->res == PINNED);
	io_uring_cqe_seen(ring, cqe);
}

/* Linux 6.1 pins under the lock of the mappings, where it can't wait for a page that is
 * remote: EFAULT, and the page has to be there. */
static int register_one(struct io_uring *ring, const struct iovec *v)
{
	int err = -EFAULT;

	for (int tries = 0; err == -EFAULT && tries < 100; tries++) {
		if (tries)
			pages_check(v->iov_base, 512, v->iov_len / PG, 1);
		err = io_uring_register_buffers(ring, v, 1);
	}
	return err;
}

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX";
	struct io_uring ring;

	job_init(argc, argv);

	size_t nr = job_half / PG, few = PINNED / PG;
	char *m = job_map(job_half), *copy = job_map(PINNED);
	struct iovec v = {m + 2 * MIB, PINNED};
	int fd = mkstemp(path);
	int err = io_uring_queue_init(8, &ring, 0);

	CHECK(fd >= 0 && unlink(path) == 0);
	if (err == -ENOSYS || err == -EPERM) {
		puts("pinned: skipped, no io_uring here");
		return 77;
	}
	CHECK(err == 0);
	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(register_one(&ring, &v) == 0);
	for (uint64_t gen = 1; gen < 5; gen++) {
		job_pressure();
		do_one(&ring, fd, v.iov_base, true); /* what the device sees ... */
		CHECK(pread(fd, copy, PINNED, 0) == PINNED);
		pages_check(copy, 512, few, gen); /* ... is what the job wrote */
		pages_write(copy, 512, few, gen + 100);
		CHECK(pwrite(fd, copy, PINNED, 0) == PINNED);
		job_pressure();
		do_one(&ring, fd, v.iov_base, false);
		pages_check(v.iov_base, 512, few, gen + 100);
		pages_write(v.iov_base, 512, few, gen + 1);
	}
	CHECK(io_uring_unregister_buffers(&ring) == 0);
	job_pressure();
	pages_check(m, 0, 512, 1);
	pages_check(m + 2 * MIB, 512, few, 5);
	pages_check(m + 2 * MIB + PINNED, 512 + few, nr - 512 - few, 1);
	return job_done();
}
