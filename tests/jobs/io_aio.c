/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own asynchronous I/O (io_submit) with remote buffers, plain and
 * O_DIRECT: complete, and the right bytes. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEP  16UL /* pages a request */
#define BATCH 8UL  /* requests at once */

static void submit_and_wait(aio_context_t ctx, struct iocb *cb, long nr)
{
	struct io_event ev[BATCH];
	struct iocb *list[BATCH];
	long got = 0;

	for (long i = 0; i < nr; i++)
		list[i] = &cb[i];
	for (long sent = 0; sent < nr;) {
		long n = syscall(SYS_io_submit, ctx, nr - sent, list + sent);

		if (n <= 0) {
			job_fail("io_submit");
			exit(1);
		}
		sent += n;
	}
	while (got < nr) {
		long n = syscall(SYS_io_getevents, ctx, 1L, nr - got, ev, NULL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			job_fail("io_getevents");
			exit(1);
		}
		for (long i = 0; i < n; i++)
			CHECK(ev[i].res == (long)(STEP * PG));
		got += n;
	}
}

static void transfer(aio_context_t ctx, int fd, int opcode, char *m, size_t nr)
{
	for (size_t i = 0; i < nr; i += STEP * BATCH) {
		struct iocb cb[BATCH];
		unsigned int n = 0;

		memset(cb, 0, sizeof(cb));
		for (; n < BATCH && i + n * STEP < nr; n++) {
			size_t at = (i + n * STEP) * PG;

			cb[n].aio_fildes = (uint32_t)fd;
			cb[n].aio_lio_opcode = (uint16_t)opcode;
			cb[n].aio_buf = (uintptr_t)(m + at);
			cb[n].aio_nbytes = STEP * PG;
			cb[n].aio_offset = (int64_t)at;
		}
		submit_and_wait(ctx, cb, n);
	}
}

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX";
	aio_context_t ctx = 0;

	job_init(argc, argv);

	size_t nr = job_half / 2 / PG / STEP * STEP;
	char *a = job_map(nr * PG), *b = job_map(nr * PG);
	int fd = mkstemp(path), direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	CHECK(fd >= 0 && unlink(path) == 0);
	if (syscall(SYS_io_setup, BATCH, &ctx))
		return errno == ENOSYS ? 77 : 1;
	for (unsigned int round = 1; round <= 2; round++) {
		int by = round == 2 && direct >= 0 ? direct : fd;

		pages_write(a, 0, nr, round);
		pages_write(b, 9, nr, 100 + round);
		job_pressure();
		transfer(ctx, by, IOCB_CMD_PWRITE, a, nr);
		job_pressure();
		transfer(ctx, by, IOCB_CMD_PREAD, b, nr);
		pages_check(b, 0, nr, round);
		pages_check(a, 0, nr, round);
	}
	CHECK(syscall(SYS_io_destroy, ctx) == 0);
	return job_done();
}
