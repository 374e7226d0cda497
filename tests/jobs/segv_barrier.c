/* SPDX-License-Identifier: Apache-2.0 */
/* A garbage collector's write barrier: memory is protected, the first write to
 * each page raises SIGSEGV, the handler (on an alternate stack that may be
 * remote itself) notes the page and unprotects it. si_addr must be exact and
 * the set of written pages must be right, also for remote pages. */
#include "job.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *m;
static size_t nr;
static unsigned char *dirty;
static volatile sig_atomic_t on_stack;

static void barrier(int sig, siginfo_t *si, void *uc)
{
	char *a = (char *)((uintptr_t)si->si_addr & ~(PG - 1));
	stack_t ss;

	(void)uc;
	if (sig != SIGSEGV || a < m || a >= m + nr * PG || si->si_code != SEGV_ACCERR)
		_exit(3);
	dirty[(a - m) / (long)PG]++;
	mprotect(a, PG, PROT_READ | PROT_WRITE);
	sigaltstack(NULL, &ss);
	on_stack = (ss.ss_flags & SS_ONSTACK) != 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_sigaction = barrier, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	uint64_t rng = 5;

	job_init(argc, argv);

	stack_t ss = {.ss_sp = job_map(64 * PG), .ss_size = 64 * PG};

	nr = job_half / PG;
	m = job_map(job_half);
	dirty = job_map(nr);
	CHECK(sigaltstack(&ss, NULL) == 0 && sigaction(SIGSEGV, &sa, NULL) == 0);
	pages_write(m, 0, nr, 1);
	for (uint64_t round = 2; round < 5; round++) {
		unsigned char *want = calloc(1, nr);

		memset(dirty, 0, nr);
		CHECK(mprotect(m, nr * PG, PROT_READ) == 0);
		job_pressure();
		for (size_t k = 0; k < 3000; k++) {
			size_t i = job_rand(&rng) % nr;

			page_check(m + i * PG, i, JOB_ANY);
			page_write(m + i * PG, i, round);
			want[i] = 1;
		}
		CHECK(memcmp(want, dirty, nr) == 0);
		CHECK(on_stack);
		for (size_t i = 0; i < nr; i++)
			page_check(m + i * PG, i, want[i] ? round : JOB_ANY);
		free(want);
	}
	return job_done();
}
