/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of every size from one page to the whole, each filled while others
 * leave; all are read again, in the order and against it. */
#include "job.h"

#include <sys/mman.h>

#define MAX 4096

static struct {
	char *p;
	size_t nr;
} maps[MAX];

int main(int argc, char **argv)
{
	size_t nr = 0, used = 0;

	job_init(argc, argv);
	for (size_t size = 1; used + size <= job_half / PG && nr < MAX; nr++) {
		maps[nr].nr = size;
		maps[nr].p = job_map(size * PG);
		pages_write(maps[nr].p, used, size, nr);
		used += size;
		size = nr % 11 == 10 ? 1 : size * 3 - 1;
		if (size == 2 && nr % 2)
			size = 512;
	}
	job_pressure();
	for (size_t i = 0, no = 0; i < nr; no += maps[i++].nr)
		pages_check(maps[i].p, no, maps[i].nr, i);
	job_pressure();
	for (size_t i = nr, no = used; i-- > 0;) {
		no -= maps[i].nr;
		pages_check(maps[i].p, no, maps[i].nr, i);
		CHECK(munmap(maps[i].p, maps[i].nr * PG) == 0);
	}
	return job_done();
}
