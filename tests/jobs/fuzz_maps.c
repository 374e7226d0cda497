/* SPDX-License-Identifier: Apache-2.0 */
/* Random sequences of mapping calls against a model of what Linux promises:
 * write, read, mmap over, munmap, mremap, mprotect, madvise, fork, mlock, while
 * another thread presses everything out. MORE is "SEED[:OPS]"; the seed is
 * printed when something is wrong. */
#include "job.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNMAPPED 0 /* no mapping */
#define ZERO	 1 /* mapped, reads as zeros */
#define DATA	 2 /* holds page number no[], generation gen[] */
#define MAX_RUN	 512

struct model {
	uint8_t what;
	uint8_t prot;
	uint64_t no, gen;
};

static char *m;
static size_t nr;
static struct model *model;
static uint64_t rng, next_gen;
static atomic_bool stop;

static bool run_is(size_t i, size_t n, int prot)
{
	for (size_t k = i; k < i + n; k++)
		if (model[k].what == UNMAPPED || (model[k].prot & prot) != prot)
			return false;
	return true;
}

static void look(size_t i, size_t n)
{
	for (size_t k = i; k < i + n; k++) {
		if (model[k].what == UNMAPPED || !(model[k].prot & PROT_READ))
			continue;
		if (model[k].what == ZERO)
			page_check_zero(m + k * PG);
		else
			page_check(m + k * PG, model[k].no, model[k].gen);
	}
}

static void set(size_t i, size_t n, uint8_t what)
{
	for (size_t k = i; k < i + n; k++)
		model[k].what = what;
}

static void op_write(size_t i, size_t n)
{
	for (size_t k = i; k < i + n; k++) {
		if (!run_is(k, 1, PROT_READ | PROT_WRITE))
			continue;
		model[k] = (struct model){DATA, model[k].prot, k, ++next_gen};
		page_write(m + k * PG, k, next_gen);
	}
}

static void op_map(size_t i, size_t n)
{
	CHECK(mmap(m + i * PG, n * PG, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m + i * PG);
	for (size_t k = i; k < i + n; k++)
		model[k] = (struct model){ZERO, PROT_READ | PROT_WRITE, 0, 0};
}

static void op_unmap(size_t i, size_t n)
{
	CHECK(munmap(m + i * PG, n * PG) == 0);
	set(i, n, UNMAPPED);
}

static void op_protect(size_t i, size_t n)
{
	static const int kinds[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ,
				    PROT_NONE};
	int prot = kinds[job_rand(&rng) % 4];

	if (!run_is(i, n, 0))
		return;
	CHECK(mprotect(m + i * PG, n * PG, prot) == 0);
	for (size_t k = i; k < i + n; k++)
		model[k].prot = (uint8_t)prot;
}

static void op_dontneed(size_t i, size_t n)
{
	if (!run_is(i, n, 0))
		return;
	CHECK(madvise(m + i * PG, n * PG, MADV_DONTNEED) == 0);
	set(i, n, ZERO);
}

/* Move to another place, over whatever is there; perhaps leave zeros behind. */
static void op_move(size_t i, size_t n)
{
	size_t to = job_rand(&rng) % (nr - n);
	bool leave = job_rand(&rng) % 3 == 0;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (leave ? 4 /* DONTUNMAP */ : 0);

	if ((to < i + n && i < to + n) || !run_is(i, n, 0))
		return;
	for (size_t k = i; k < i + n; k++) /* one mapping only: Linux moves no more at once */
		if (model[k].prot != model[i].prot)
			return;
	if (mremap(m + i * PG, n * PG, n * PG, flags, m + to * PG) == MAP_FAILED) {
		/* Two mappings that look alike need not be one; what MAP_FIXED
		 * covers may be gone by then, and since Linux 6.17, which moves
		 * several mappings at once, so may the first of them. */
		CHECK(errno == EFAULT || errno == EINVAL);
		errno = 0;
		op_map(to, n);
		op_map(i, n);
		return;
	}
	memcpy(model + to, model + i, n * sizeof(*model));
	set(i, n, leave ? ZERO : UNMAPPED);
}

static void op_fork(size_t i, size_t n)
{
	pid_t pid = fork();

	if (pid == 0) {
		look(i, n);
		op_write(i, n);
		look(i, n);
		job_child_exit();
	}
	CHECK(pid > 0);
	job_reap(pid);
}

static void op_lock(size_t i, size_t n)
{
	n = n > 16 ? 16 : n;
	if (!run_is(i, n, PROT_READ))
		return;
	CHECK(mlock(m + i * PG, n * PG) == 0);
	look(i, n);
	CHECK(munlock(m + i * PG, n * PG) == 0);
}

static void op_populate(size_t i, size_t n)
{
	if (!run_is(i, n, PROT_READ | PROT_WRITE))
		return;
	CHECK(madvise(m + i * PG, n * PG, job_rand(&rng) % 2 ? 22 : 23) == 0);
}

static void op_read(size_t i, size_t n)
{
	look(i, n);
}

static void (*const ops[])(size_t, size_t) = {
	op_write, op_write, op_write, op_write, op_write,   op_read,  op_read,	   op_read,
	op_read,  op_map,   op_map,   op_unmap, op_protect, op_move,  op_move,	   op_dontneed,
	op_fork,  op_lock,  op_read,  op_write, op_protect, op_write, op_populate, op_write,
};

static void *presser(void *arg)
{
	(void)arg;
	while (!stop)
		job_pressure();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;
	char *end = NULL;

	job_init(argc, argv);

	unsigned long seed = *job_more ? strtoul(job_more, &end, 10) : 1;
	unsigned long count = end && *end == ':' ? strtoul(end + 1, NULL, 10) : 4000;

	rng = seed;
	nr = job_half / PG;
	m = job_map(job_half);
	model = calloc(nr, sizeof(*model));
	op_map(0, nr);
	CHECK(pthread_create(&t, NULL, presser, NULL) == 0);
	for (unsigned long k = 0; k < count && !job_failures(); k++) {
		size_t i = job_rand(&rng) % (nr - MAX_RUN), n = 1 + job_rand(&rng) % MAX_RUN;

		ops[job_rand(&rng) % (sizeof(ops) / sizeof(ops[0]))](i, n);
		if (job_failures())
			fprintf(stderr, "fuzz_maps: seed %lu, operation %lu\n", seed, k);
	}
	stop = true;
	CHECK(pthread_join(t, NULL) == 0);
	look(0, nr);
	return job_done();
}
