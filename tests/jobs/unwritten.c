/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is read again and again, and now and then written to: by threads, by a child,
 * after it was moved, in a system call. What was only read may leave as it came; what was
 * written to must not. */
#include "job.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 4U
#define EVERY  61U /* of so many pages one is written to in a round */

static char *mem;
static size_t pages;
static uint64_t *gen; /* that a page was written in */

static void check_all(void)
{
	for (size_t i = 0; i < pages; i++)
		page_check(mem + i * PG, i, gen[i]);
}

/* The second half, while the first is read. */
static void *write_some(void *arg)
{
	uint64_t round = *(uint64_t *)arg;

	for (size_t i = pages / 2 + round % EVERY; i < pages; i += EVERY) {
		page_check(mem + i * PG, i, gen[i]);
		gen[i] += 1 + round;
		page_write(mem + i * PG, i, gen[i]);
	}
	return NULL;
}

/* Bytes that the kernel writes: of a page that was read a moment ago. */
static void write_by_kernel(size_t i)
{
	static char page[PG];
	int fd[2];

	page_check(mem + i * PG, i, gen[i]);
	gen[i] += 100;
	page_write(page, i, gen[i]);
	CHECK(pipe(fd) == 0);
	CHECK(write(fd[1], page, PG) == PG);
	CHECK(read(fd[0], mem + i * PG, PG) == PG);
	close(fd[0]);
	close(fd[1]);
}

/* What a child writes is its own. */
static void fork_and_write(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (size_t i = 3; i < pages; i += 7 * EVERY) {
			page_check(mem + i * PG, i, gen[i]);
			page_write(mem + i * PG, i, 7777);
		}
		for (size_t i = 3; i < pages; i += 7 * EVERY)
			page_check(mem + i * PG, i, 7777);
		job_child_exit();
	}
	for (size_t i = 3; i < pages; i += 5 * EVERY)
		page_write(mem + i * PG, i, gen[i] += 10);
	job_reap(pid);
}

/* It goes elsewhere, with what the kernel knows of its pages. */
static void move_and_write(void)
{
	char *to = mmap(NULL, pages * PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);

	CHECK(to != MAP_FAILED);
	CHECK(mremap(mem, pages * PG, pages * PG, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	mem = to;
	for (size_t i = 5; i < pages; i += EVERY)
		page_write(mem + i * PG, i, gen[i] += 1000);
}

int main(int argc, char **argv)
{
	pthread_t writer;

	job_init(argc, argv);
	pages = job_half / PG;
	mem = job_map(job_half);
	gen = calloc(pages, sizeof(*gen));
	CHECK(gen);
	for (size_t i = 0; i < pages; i++)
		page_write(mem + i * PG, i, gen[i] = 1);
	job_pressure();
	for (uint64_t round = 0; round < ROUNDS; round++) {
		check_all();
		job_pressure();
		CHECK(pthread_create(&writer, NULL, write_some, &round) == 0);
		for (size_t i = 0; i < pages / 2; i++)
			page_check(mem + i * PG, i, gen[i]);
		pthread_join(writer, NULL);
		for (size_t i = round; i < pages; i += 11 * EVERY)
			write_by_kernel(i);
		if (round == 1)
			fork_and_write();
		if (round == 2)
			move_and_write();
	}
	job_pressure();
	check_all();
	return job_done();
}
