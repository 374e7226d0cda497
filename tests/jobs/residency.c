/* SPDX-License-Identifier: Apache-2.0 */
/* mincore: one byte a page, never an error, whatever has left; a page that was
 * touched a moment ago is resident, memory that is not mapped is ENOMEM, and
 * asking brings nothing in and changes nothing. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG, seen = 0;
	char *m = job_map(job_half);
	unsigned char *in = calloc(nr, 1);

	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(in && mincore(m, job_half, in) == 0);
	for (size_t i = 0; i < nr; i += 97) {
		unsigned char one = 0;

		CHECK(page_check(m + i * PG, i, 1));
		CHECK(mincore(m + i * PG, PG, &one) == 0);
		seen += one & 1;
	}
	CHECK(seen * 10 > nr / 97 * 9); /* some may have left again at once */
	pages_check(m, 0, nr, 1);
	CHECK(munmap(m + PG, PG) == 0);
	CHECK(mincore(m, 3 * PG, in) == -1 && errno == ENOMEM);
	errno = 0;
	return job_done();
}
