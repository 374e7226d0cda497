/* SPDX-License-Identifier: Apache-2.0 */
/* read, write, readv, writev and vmsplice from and to remote buffers, through
 * a pipe, a socket and a file; nothing is short and nothing is EFAULT. */
#include "job.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEP 16 /* pages a call */

struct flow {
	char *m;
	size_t nr;
	int fd;
	bool splice;
};

static void *sender(void *arg)
{
	struct flow *f = arg;

	for (size_t i = 0; i < f->nr; i += STEP) {
		struct iovec v[2] = {{f->m + i * PG, STEP / 2 * PG},
				     {f->m + (i + STEP / 2) * PG, STEP / 2 * PG}};
		size_t left = STEP * PG;

		while (left) {
			ssize_t n = f->splice ? vmsplice(f->fd, v, 2, 0) : writev(f->fd, v, 2);

			if (n <= 0) {
				job_fail("sending %zu bytes", left);
				return NULL;
			}
			left -= (size_t)n;
			for (int k = 0; k < 2; k++) {
				size_t take = (size_t)n < v[k].iov_len ? (size_t)n : v[k].iov_len;

				v[k].iov_base = (char *)v[k].iov_base + take;
				v[k].iov_len -= take;
				n -= (ssize_t)take;
			}
		}
	}
	return NULL;
}

static void transfer(char *from, char *to, size_t nr, int in, int out, bool splice)
{
	struct flow f = {from, nr, in, splice};
	pthread_t t;

	CHECK(pthread_create(&t, NULL, sender, &f) == 0);
	for (size_t got = 0; got < nr * PG;) {
		ssize_t n = read(out, to + got, nr * PG - got < 300000 ? nr * PG - got : 300000);

		if (n <= 0) {
			job_fail("receiving at %zu", got);
			exit(1);
		}
		got += (size_t)n;
	}
	CHECK(pthread_join(t, NULL) == 0);
	close(in);
	close(out);
	pages_check(to, 0, nr, 1);
}

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX";
	int p[2], s[2], q[2];

	job_init(argc, argv);

	size_t nr = job_half / 2 / PG / STEP * STEP;
	char *a = job_map(nr * PG), *b = job_map(nr * PG);

	pages_write(a, 0, nr, 1);
	pages_write(b, 5, nr, 2);
	job_pressure();
	CHECK(pipe(p) == 0 && pipe(q) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	transfer(a, b, nr, p[1], p[0], false);
	job_pressure();
	transfer(b, a, nr, s[1], s[0], false);
	job_pressure();
	transfer(a, b, nr, q[1], q[0], true);

	int fd = mkstemp(path);

	CHECK(fd >= 0 && unlink(path) == 0);
	job_pressure();
	for (size_t i = 0; i < nr; i += STEP)
		CHECK(write(fd, b + i * PG, STEP * PG) == STEP * PG);
	CHECK(madvise(a, nr * PG, MADV_DONTNEED) == 0);
	job_pressure();
	for (size_t i = 0; i < nr; i += STEP)
		CHECK(pread(fd, a + i * PG, STEP * PG, (off_t)(i * PG)) == STEP * PG);
	pages_check(a, 0, nr, 1);
	return job_done();
}
