/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/wake.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS	 31U
#define GUESS_NS 10000U

struct pair {
	sem_t there, back;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s)) /* a signal */
		;
}

static void *answer(void *arg)
{
	struct pair *p = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		wait_for(&p->there);
		sem_post(&p->back);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* On another CPU than this one, where there is one: to be woken on one's own costs little. */
static int start_elsewhere(pthread_t *t, struct pair *p)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int err;

	pthread_attr_init(&attr);
	if (!sched_getaffinity(0, sizeof(cpus), &cpus)) {
		CPU_CLR(sched_getcpu(), &cpus);
		if (CPU_COUNT(&cpus))
			pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	err = pthread_create(t, &attr, answer, p);
	pthread_attr_destroy(&attr);
	return err;
}

static uint64_t measure(void)
{
	uint64_t took[ROUNDS];
	struct pair p;
	pthread_t t;

	sem_init(&p.there, 0, 0);
	sem_init(&p.back, 0, 0);
	if (start_elsewhere(&t, &p))
		return GUESS_NS;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t start = now_ns();

		sem_post(&p.there);
		wait_for(&p.back);
		took[i] = (now_ns() - start) / 2;
	}
	pthread_join(t, NULL);
	sem_destroy(&p.there);
	sem_destroy(&p.back);
	qsort(took, ROUNDS, sizeof(took[0]), compare);
	return took[ROUNDS / 2];
}

uint64_t wake_cost_ns(void)
{
	static uint64_t cost_ns;

	if (!cost_ns)
		cost_ns = measure();
	return cost_ns;
}

uint64_t wake_worth_ns(unsigned int times, uint64_t least_ns, uint64_t most_ns)
{
	uint64_t ns = times * wake_cost_ns();

	if (ns < least_ns)
		return least_ns;
	return ns < most_ns ? ns : most_ns;
}
