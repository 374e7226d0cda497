/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is writable and executable, as of compilers that translate at run
 * time: it is right and can be executed, whatever leaves around it. */
#include "job.h"

#include <string.h>
#include <sys/mman.h>

static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* return 42 */

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG, few = nr / 8;
	char *m = job_map(job_half);
	char *x = mmap(NULL, few * PG, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*call)(void);

	CHECK(x != MAP_FAILED);
	pages_write(m, 0, nr, 1);
	pages_write(x, 7, few, 1);
	for (uint64_t gen = 1; gen < 3; gen++) {
		job_pressure();
		pages_check(x, 7, few, gen);
		memcpy(x, code, sizeof(code));
		memcpy(&call, &x, sizeof(call));
		CHECK(call() == 42);
		pages_write(x, 7, few, gen + 1);
	}
	pages_check(m, 0, nr, 1);
	return job_done();
}
