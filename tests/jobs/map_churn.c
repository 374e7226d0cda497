/* SPDX-License-Identifier: Apache-2.0 */
/* Small mappings side by side that come, move and go all the time, from several
 * threads, while others are touched: who looks at what is mapped sees each part as it
 * was at another moment. Each thread has a window of places, mapped or a hole. */
#include "job.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define THREADS	  3
#define PLACES	  256
#define SPOT	  16  /* pages of a place */
#define NEAR	  4   /* of those it maps and unmaps for a while, ... */
#define WHILE	  256 /* ... so many times: most are gone before anybody sees them */
#define PRESSURES 3
#define WINDOW	  0x100000000000UL /* where nobody maps anything by himself */

static bool stop, moves;

struct window {
	char *base;
	uint64_t rng;
	uint64_t gen[PLACES]; /* 0: a hole */
	uint64_t last;
};

static char *place(const struct window *w, size_t i)
{
	return w->base + i * SPOT * PG;
}

static void map_at(struct window *w, size_t i)
{
	void *at = mmap(place(w, i), SPOT * PG, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(at == place(w, i));
	w->gen[i] = ++w->last;
	pages_write(place(w, i), i * SPOT, SPOT, w->gen[i]);
}

static void unmap_at(struct window *w, size_t i)
{
	pages_check(place(w, i), i * SPOT, SPOT, w->gen[i]);
	CHECK(munmap(place(w, i), SPOT * PG) == 0);
	w->gen[i] = 0;
}

/* Into a hole: the pages go on to say where they were written. */
static void move_to(struct window *w, size_t from, size_t to)
{
	uint64_t gen = w->gen[from];

	pages_check(place(w, from), from * SPOT, SPOT, gen);
	CHECK(mremap(place(w, from), SPOT * PG, SPOT * PG, MREMAP_MAYMOVE | MREMAP_FIXED,
		     place(w, to)) == place(w, to));
	pages_check(place(w, to), from * SPOT, SPOT, gen);
	w->gen[from] = 0;
	w->gen[to] = ++w->last;
	pages_write(place(w, to), to * SPOT, SPOT, w->gen[to]);
}

static void *churn(void *arg)
{
	struct window *w = arg;
	size_t from = 0;

	for (size_t n = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED) && !job_failures(); n++) {
		if (n % WHILE == 0)
			from = job_rand(&w->rng) % (PLACES - NEAR);

		size_t i = from + job_rand(&w->rng) % NEAR, to = job_rand(&w->rng) % PLACES;

		if (!w->gen[i])
			map_at(w, i);
		else if (moves && job_rand(&w->rng) % 16 == 0 && !w->gen[to])
			move_to(w, i, to);
		else
			unmap_at(w, i);
	}
	for (size_t i = 0; i < PLACES; i++)
		if (w->gen[i])
			pages_check(place(w, i), i * SPOT, SPOT, w->gen[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct window w[THREADS];
	pthread_t t[THREADS];

	job_init(argc, argv);
	moves = !strcmp(job_more, "moves");
	for (unsigned int i = 0; i < THREADS; i++) {
		w[i].rng = i + 1;
		w[i].base = (char *)WINDOW + i * PLACES * SPOT * PG;
		CHECK(pthread_create(&t[i], NULL, churn, &w[i]) == 0);
	}
	for (int i = 0; i < PRESSURES; i++)
		job_pressure();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	return job_done();
}
