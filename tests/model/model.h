/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's model of the kernel against the kernel itself: the same
 * random calls, the same monitor; messages, results, present pages, contents
 * and mappings must be equal.
 */
#ifndef RMEM_TESTS_MODEL_MODEL_H
#define RMEM_TESTS_MODEL_MODEL_H

#include <sys/types.h>

#include "tests/sim/model.h"

#define PROCS	     5
#define REGION_PAGES 40U
#define REGION_VA    0x100000000000ULL
#define SCRATCH_VA   0x110000000000ULL
#define MAX_MSGS     128

/* What a process of the job is told to do; the answer is a result. */
enum { CMD_OP, CMD_MOVE, CMD_DROP, CMD_EXIT };

struct cmd {
	int what;
	int next; /* process slot of a fork's child */
	struct mop op;
};

struct answer {
	int res;
	pid_t pid;
	uint64_t value;
};

struct msg {
	uint8_t type;
	unsigned int i, n, j;
	bool guarded;	/* a write to a page that is: it is allowed */
	bool guard;	/* the fault was answered so */
	uint64_t value; /* and with this */
};

/* ---- job.c: runs in the process ---- */
void job_main(int slot, int uffd_move) __attribute__((noreturn));
extern int job_socks[PROCS][2]; /* the monitor's end, the process's end */

/* A process of the job, as the monitor has it. */
struct proc {
	bool used;
	unsigned int space;
	pid_t pid;
	int uffd, pidfd, pagemap, mem;
};

/* ---- main.c ---- */
void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ---- compare.c: each fails at the first difference ---- */
void compare_pages(const struct model *m, const struct proc *p); /* present, and their bytes */
void compare_mappings(const struct model *m, const struct proc *p);

/* Of a fork's child: to be called before it is compared. */
void forget_zero_pages(struct model *m, const struct proc *child);

static inline uint64_t page_va(unsigned int i)
{
	return REGION_VA + (uint64_t)i * PAGE_BYTES;
}

static inline unsigned int page_of(uint64_t va)
{
	return (unsigned int)((va - REGION_VA) >> PAGE_SHIFT);
}

#endif
