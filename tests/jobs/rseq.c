/* SPDX-License-Identifier: Apache-2.0 */
/* Restartable sequences, as per-CPU allocators use them: each thread adds to
 * the counter of the CPU it is on with a sequence that the kernel restarts when
 * the thread is interrupted. A system call put in at the wrong moment would
 * cancel the restart, and then counts get lost. */
#include "job.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/rseq.h>
#include <unistd.h>

#define THREADS 4
#define ADDS	3000000

static uint64_t *count; /* a cache line for each CPU, on cold pages */

static struct rseq *self(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* count[cpu * 8]++ without a lock prefix; false: interrupted, try again. */
static bool add_here(struct rseq *rs)
{
	__asm__ goto(".pushsection __rseq_cs, \"aw\"\n"
		     ".balign 32\n"
		     "3:\n"
		     ".long 0, 0\n"
		     ".quad 1f, 2f - 1f, 4f\n"
		     ".popsection\n"
		     ".pushsection __rseq_fail, \"ax\"\n"
		     ".byte 0x0f, 0xb9, 0x3d\n"
		     ".long %c[sig]\n"
		     "4: jmp %l[again]\n"
		     ".popsection\n"
		     "leaq 3b(%%rip), %%rax\n"
		     "movq %%rax, %c[cs](%[rs])\n"
		     "1:\n"
		     "movl %c[cpu](%[rs]), %%eax\n"
		     "shlq $6, %%rax\n"
		     "movq (%[base],%%rax), %%rcx\n"
		     "movl $20, %%edx\n" /* stay inside for a while */
		     "5: decl %%edx\n"
		     "jnz 5b\n"
		     "incq %%rcx\n"
		     "movq %%rcx, (%[base],%%rax)\n"
		     "2:\n"
		     :
		     : [rs] "r"(rs), [base] "r"(count), [sig] "i"(RSEQ_SIG),
		       [cs] "i"(__builtin_offsetof(struct rseq, rseq_cs)),
		       [cpu] "i"(__builtin_offsetof(struct rseq, cpu_id_start))
		     : "rax", "rcx", "rdx", "cc", "memory"
		     : again);
	return true;
again:
	return false;
}

static void *adder(void *arg)
{
	struct rseq *rs = self();

	(void)arg;
	for (int i = 0; i < ADDS; i++)
		while (!add_here(rs))
			;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];
	uint64_t sum = 0;

	job_init(argc, argv);
	if (__rseq_size == 0) {
		puts("rseq: skipped, not registered by libc");
		return 77;
	}

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	count = job_map(1024 * 64);
	pages_write(m, 0, nr, 1);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, adder, NULL) == 0);
	job_pressure();
	pages_check(m, 0, nr, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int cpu = 0; cpu < 1024; cpu++)
		sum += count[cpu * 8];
	CHECK(sum == (uint64_t)THREADS * ADDS);
	pages_check(m, 0, nr, 1);
	return job_done();
}
