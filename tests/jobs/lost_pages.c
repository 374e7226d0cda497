/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes all of its pages, and counts those that answer with SIGBUS. With a second
 * argument it tells when all is written, and goes on with SIGUSR1; then it prints how many
 * were lost. All others must be right, and stay so.
 */
#include "job.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MAX_PAGES (1UL << 16)

/* What the program itself needs stays: it is locked, and so are stack and libraries. */
static sigjmp_buf back;
static void *volatile at;
static bool gone[MAX_PAGES];
static char out[BUFSIZ];

static void on_bus(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)uc;
	if (((uintptr_t)info->si_addr ^ (uintptr_t)at) / PG)
		abort(); /* of another page than the one that is touched */
	siglongjmp(back, 1);
}

static void on_go(int sig)
{
	(void)sig;
}

/* False: it is lost. */
static bool look(char *page, uint64_t no, uint64_t gen)
{
	at = page;
	if (sigsetjmp(back, 1))
		return false;
	page_check(page, no, gen);
	return true;
}

int main(int argc, char **argv)
{
	struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
	size_t nr, lost = 0;
	sigset_t go, was;
	char *p;

	job_init(argc, argv);
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	CHECK(!mlockall(MCL_CURRENT));
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigprocmask(SIG_BLOCK, &go, &was);
	signal(SIGUSR1, on_go);
	sigaction(SIGBUS, &bus, NULL);
	nr = job_bytes / PG;
	p = job_map(nr * PG);
	CHECK(nr <= MAX_PAGES);
	pages_write(p, 0, nr, 1);
	if (*job_more) {
		puts("filled");
		fflush(stdout);
		sigsuspend(&was);
	}
	for (size_t i = 0; i < nr; i++)
		gone[i] = !look(p + i * PG, i, 1);
	for (uint64_t gen = 2; gen < 5; gen++) {
		for (size_t i = 0; i < nr; i++)
			if (!gone[i])
				page_write(p + i * PG, i, gen);
		for (size_t i = 0; i < nr; i++)
			CHECK(look(p + i * PG, i, gen) == !gone[i]);
	}
	for (size_t i = 0; i < nr; i++)
		lost += gone[i];
	if (*job_more)
		printf("lost %zu of %zu\n", lost, nr);
	else
		CHECK(lost == 0);
	return job_done();
}
