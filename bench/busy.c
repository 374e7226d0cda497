/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busy THREADS: threads that compute and touch no memory, until there is a
 * line. Says when they have been started, and at the end what they did.
 */
#include <pthread.h>

#include "bench/bench.h"

#define ROUND 4096U

static uint64_t rounds, sink;

static void *compute(void *arg)
{
	uint64_t x = (uintptr_t)arg;

	for (;;) {
		for (unsigned int i = 0; i < ROUND; i++)
			x = mix64(x + 1);
		__atomic_store_n(&sink, x, __ATOMIC_RELAXED);
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t start, nr_threads;
	pthread_t thread;
	double done;

	if (argc != 2)
		return 2;
	alarm(LIMIT_S);
	nr_threads = number(argv[1]);
	start = now_ns();
	for (uint64_t i = 0; i < nr_threads; i++)
		if (pthread_create(&thread, NULL, compute, (void *)(uintptr_t)i))
			return 1;
	printf("{\"threads\": %lu}\n", nr_threads);
	fflush(stdout);
	wait_line();
	done = (double)__atomic_load_n(&rounds, __ATOMIC_RELAXED);
	printf("{\"rounds_per_s\": %.0f}\n", done * 1e9 / (double)(now_ns() - start));
	return 0;
}
