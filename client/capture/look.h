/* SPDX-License-Identifier: Apache-2.0 */
/* Where a thread of the job is, as /proc tells; it is not disturbed. */
#ifndef RMEM_CAPTURE_LOOK_H
#define RMEM_CAPTURE_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum look {
	LOOK_GONE,
	LOOK_RUNNING, /* in user mode, or in the kernel and not asleep */
	LOOK_ASLEEP,  /* in the kernel */
	LOOK_UNKNOWN,
};

#define LOOK_NO_CALL -1L

/* *@call is the system call of one that is asleep; LOOK_NO_CALL: as in a page fault. */
enum look look_at_thread(pid_t pid, pid_t tid, long *call);

/* Does a thread of the process wait inside fork, vfork or clone? 1, 0, or -errno. */
int look_in_fork(pid_t pid);

/* Does it sleep as for a lock or a disk, which no signal ends? Also when that isn't told. */
bool look_is_brief(pid_t pid, pid_t tid);

/* Has it ended? The first thread of a process may be there for long after that. */
bool look_is_over(pid_t pid, pid_t tid);

/* Is it io_uring's own? It is never in user mode, and nobody can stop it. */
bool look_is_worker(pid_t pid, pid_t tid);

/* How long it has run, in all; 0 if that isn't told. */
uint64_t look_ran_ns(pid_t pid, pid_t tid);

/* Does it sleep in this function of the kernel? False as well where that isn't told. */
bool look_waits_at(pid_t pid, pid_t tid, const char *function);

#endif
