/* SPDX-License-Identifier: Apache-2.0 */
/* malloc at every arena size from many threads: blocks of 1 KiB to 4 MiB are
 * allocated, grown, freed and read again; each thread has its own arena. */
#include "job.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4
#define BLOCKS	64

struct block {
	char *p;
	size_t bytes;
	unsigned char tag;
};

static void check(const struct block *b)
{
	for (size_t i = 0; i < b->bytes; i += 509)
		if ((unsigned char)b->p[i] != (unsigned char)(b->tag + i / 509)) {
			job_fail("block of %zu bytes: wrong byte at %zu", b->bytes, i);
			return;
		}
}

static void stamp(struct block *b)
{
	for (size_t i = 0; i < b->bytes; i += 509)
		b->p[i] = (char)(b->tag + i / 509);
}

static void *worker(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	struct block b[BLOCKS] = {0};
	size_t budget = job_half / THREADS, used = 0;

	for (int round = 0; round < 400; round++) {
		struct block *x = &b[job_rand(&rng) % BLOCKS];
		size_t want = 1024UL << job_rand(&rng) % 13;

		if (x->p)
			check(x);
		if (used - x->bytes + want > budget || job_rand(&rng) % 4 == 0) {
			free(x->p);
			used -= x->bytes;
			*x = (struct block){0};
			continue;
		}
		x->p = realloc(x->p, want);
		if (!x->p)
			abort();
		used = used - x->bytes + want;
		x->bytes = want;
		x->tag = (unsigned char)round;
		stamp(x);
	}
	for (int i = 0; i < BLOCKS; i++) {
		if (b[i].p)
			check(&b[i]);
		free(b[i].p);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];

	job_init(argc, argv);
	for (int round = 0; round < 2; round++) {
		for (uintptr_t i = 0; i < THREADS; i++)
			CHECK(pthread_create(&t[i], NULL, worker, (void *)(i + 1)) == 0);
		job_pressure();
		for (int i = 0; i < THREADS; i++)
			CHECK(pthread_join(t[i], NULL) == 0);
	}
	return job_done();
}
