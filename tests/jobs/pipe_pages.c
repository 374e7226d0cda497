/* SPDX-License-Identifier: Apache-2.0 */
/* Pages given to a pipe (vmsplice), doubled (tee) and handed on (splice) while the
 * job's own leave: what comes out is what was given. The pages are not written to
 * before they have come out: see vmsplice in docs/semantics.md. */
#include "job.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEP 8UL /* pages in the pipe at a time */

static void must_move(ssize_t n, const char *call)
{
	if (n == (ssize_t)(STEP * PG))
		return;
	job_fail("%s moved %zd bytes", call, n);
	exit(1);
}

static void receive(int fd, char *to)
{
	for (size_t got = 0; got < STEP * PG;) {
		ssize_t n = read(fd, to + got, STEP * PG - got);

		if (n <= 0) {
			job_fail("read %zd bytes", n);
			exit(1);
		}
		got += (size_t)n;
	}
}

int main(int argc, char **argv)
{
	int in[2], copy[2], out[2];

	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(nr * PG), *got = job_map(STEP * PG);

	pages_write(m, 0, nr, 1);
	CHECK(pipe(in) == 0 && pipe(copy) == 0 && pipe(out) == 0);
	for (size_t i = 0; i + STEP <= nr; i += nr / 5) {
		struct iovec v = {m + i * PG, STEP * PG};

		job_pressure();
		must_move(vmsplice(in[1], &v, 1, 0), "vmsplice"); /* brings them in */
		job_pressure();					  /* out they go again */
		must_move(tee(in[0], copy[1], STEP * PG, 0), "tee");
		must_move(splice(in[0], NULL, out[1], NULL, STEP * PG, SPLICE_F_MOVE), "splice");
		job_pressure();
		receive(out[0], got);
		pages_check(got, i, STEP, 1);
		receive(copy[0], got);
		pages_check(got, i, STEP, 1);
	}
	pages_check(m, 0, nr, 1);
	return job_done();
}
