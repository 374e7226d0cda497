/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switches TIMES ROUNDS: what it costs two processes that nobody manages, on one CPU, to wake each
 * other by turns. Says the time of a wake-up and the switch that follows, in the quickest round,
 * and in all of them.
 */
#include <sched.h>

#include "bench/bench.h"

static void echo(int from, int to)
{
	char byte;

	while (read(from, &byte, 1) == 1)
		if (write(to, &byte, 1) != 1)
			exit(1);
	exit(0);
}

static uint64_t turns_ns(int from, int to, uint64_t nr)
{
	uint64_t since = now_ns();
	char byte = 0;

	for (uint64_t i = 0; i < nr; i++)
		if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1)
			exit(1);
	return now_ns() - since;
}

int main(int argc, char **argv)
{
	uint64_t times, rounds, best = UINT64_MAX, all = 0;
	int there[2], back[2];
	cpu_set_t one;

	if (argc != 3)
		return 2;
	alarm(LIMIT_S);
	times = number(argv[1]);
	rounds = number(argv[2]);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (pipe(there) || pipe(back) || sched_setaffinity(0, sizeof(one), &one)) {
		perror("pipe");
		return 1;
	}
	if (!fork()) {
		close(there[1]);
		echo(there[0], back[1]);
	}
	for (uint64_t r = 0; r < rounds; r++) {
		uint64_t ns = turns_ns(back[0], there[1], times);

		all += ns;
		best = ns < best ? ns : best;
	}
	printf("{\"best_ns\": %.1f, \"mean_ns\": %.1f}\n", (double)best / (double)(2 * times),
	       (double)all / (double)(2 * times * rounds));
	return 0;
}
