/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every job program shares: pages that describe themselves, and counting.
 *
 * A job is an ordinary program that knows nothing of rmem. Each page it writes
 * carries its number, its generation and a hash of its body, so that a wrong
 * page is not only found but classified: zero, stale, swapped or torn. A job
 * prints one line and exits 0 only if everything that it saw was right.
 *
 *	job NAME [MIB] [MORE...]     MIB: memory it touches in all, 256
 *
 * JOB_CORRUPT=main|child spoils the first page that the first process, or
 * each of its descendants, looks at: the test of the test.
 */
#ifndef RMEM_TESTS_JOB_H
#define RMEM_TESTS_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PG	4096UL
#define MIB	(1UL << 20)
#define JOB_ANY UINT64_MAX /* a generation that is not checked */

extern size_t job_bytes;     /* all that the job touches: working memory and ballast */
extern size_t job_half;	     /* what the program itself should use, a multiple of 2 MiB */
extern const char *job_more; /* argv[2] or "" */

void job_init(int argc, char **argv);

/* Prints "NAME: ok" or what went wrong; the status to exit with. */
int job_done(void);

/* For a child made by fork: its own failures become its exit status. */
void job_child_exit(void) __attribute__((noreturn));

/* Counts and prints a failure; errno is added when it is set. */
void job_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
unsigned long job_failures(void);
#define CHECK(cond) ((cond) ? (void)0 : job_fail("%s:%d: %s", __FILE__, __LINE__, #cond))

/* Waits for @pid; its status must be 0. */
void job_reap(pid_t pid);

/* Private anonymous memory, or the end of the program. */
void *job_map(size_t bytes);

uint64_t job_rand(uint64_t *state);
uint64_t job_now_ns(void);

/* Write and check whole pages. A check may be told any generation (JOB_ANY). */
void page_write(void *page, uint64_t no, uint64_t gen);
bool page_check(const void *page, uint64_t no, uint64_t gen);
bool page_check_zero(const void *page);
uint64_t page_gen(const void *page);

void pages_write(void *base, uint64_t no, size_t nr, uint64_t gen);
void pages_check(const void *base, uint64_t no, size_t nr, uint64_t gen);
void pages_check_zero(const void *base, size_t nr);

/* Touches the ballast (half of the job's memory, checked as well) twice, so
 * that everything else becomes the coldest memory there is and has to leave. */
void job_pressure(void);

#endif
