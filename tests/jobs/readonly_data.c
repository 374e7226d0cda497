/* SPDX-License-Identifier: Apache-2.0 */
/* Initialised data, zero-initialised data and a private file mapping that was
 * written to: all are anonymous pages in the end, and all come back. */
#include "job.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DATA_PAGES 1024
#define BSS_PAGES  4096

static char data[DATA_PAGES * PG] __attribute__((aligned(4096))) = {1};
static char bss[BSS_PAGES * PG] __attribute__((aligned(4096)));

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/rmem-job-XXXXXX";
	char buf[PG];

	job_init(argc, argv);
	pages_write(data, 0, DATA_PAGES, 1);
	pages_write(bss, 0, BSS_PAGES, 2);

	int fd = mkstemp(path);

	CHECK(fd >= 0 && unlink(path) == 0);
	for (size_t i = 0; i < 512; i++) {
		page_write(buf, i, 7);
		CHECK(write(fd, buf, PG) == (ssize_t)PG);
	}

	char *file = mmap(NULL, 512 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	CHECK(file != MAP_FAILED);
	for (size_t i = 0; i < 512; i += 2)
		page_write(file + i * PG, i, 8);
	char *rest = job_map(job_half);

	pages_write(rest, 0, job_half / PG, 3);
	for (int round = 0; round < 2; round++) {
		job_pressure();
		pages_check(data, 0, DATA_PAGES, 1);
		pages_check(bss, 0, BSS_PAGES, 2);
		for (size_t i = 0; i < 512; i++)
			page_check(file + i * PG, i, i % 2 ? 7 : 8);
		pages_check(rest, 0, job_half / PG, 3);
	}
	return job_done();
}
