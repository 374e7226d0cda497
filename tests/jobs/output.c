/* SPDX-License-Identifier: Apache-2.0 */
/* Remote pages written to the standard output and error, which rmem and its
 * pager share with the job: a writer that waits for a page holds the pipe, and
 * nobody who is needed to bring the page may wait for that. */
#include <string.h>
#include <unistd.h>

#include "job.h"

#define SHOWN 256 /* pages to each */

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	for (size_t i = 0; i < nr; i++) {
		memset(m + i * PG, 'a' + (int)(i % 26), PG);
		m[i * PG + PG - 1] = '\n';
	}
	job_pressure();
	for (size_t i = 0; i < SHOWN; i++)
		CHECK(write(1 + (int)(i % 2), m + i * 16 % nr * PG, PG) == PG);
	return job_done();
}
