/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that was only ever read is zero, stays zero when it leaves, and can be
 * written afterwards; pages written with zeros are zero too. */
#include "job.h"

#include <string.h>

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_check_zero(m, nr);
	job_pressure();
	for (size_t i = 0; i < nr; i += 3)
		page_write(m + i * PG, i, 1);
	for (size_t i = 1; i < nr; i += 3)
		memset(m + i * PG, 0, PG);
	for (int round = 0; round < 2; round++) {
		job_pressure();
		for (size_t i = 0; i < nr; i++) {
			if (i % 3 == 0)
				page_check(m + i * PG, i, 1);
			else
				page_check_zero(m + i * PG);
		}
	}
	for (size_t i = 0; i < nr; i += 3)
		memset(m + i * PG, 0, PG);
	job_pressure();
	pages_check_zero(m, nr);
	return job_done();
}
