/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put an agent into a running process, by ptrace: stop one thread, run a
 * handful of system calls in it, let go. Works for dynamic, static and
 * already running programs; nothing of the job is relinked or preloaded.
 *
 * inject_agent() blocks (a process inside exec can't be seized until its
 * page faults are answered), so it runs on a thread of its own, never on
 * the one that answers faults. ptrace is per thread: one call, one thread.
 */
#ifndef RMEM_CAPTURE_INJECT_H
#define RMEM_CAPTURE_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/capture/agent.h"

/* Why a process is left unmanaged. */
enum inject_refusal {
	REFUSE_NONE,
	REFUSE_SECCOMP, /* runs under a seccomp filter */
	REFUSE_TRACED,	/* under a debugger */
	REFUSE_32BIT,
	REFUSE_USERFAULTFD, /* uses userfaultfd itself */
	REFUSE_PERMISSION,
	REFUSE_LIMIT, /* its own limits (descriptors, address space) */
	REFUSE_GONE,  /* ended meanwhile */
	REFUSE_STUCK, /* could not be stopped within the time-out */
	REFUSE_OTHER,
};

struct inject_args {
	pid_t pid;	     /* thread group leader, or any process sharing the space */
	int dev_userfaultfd; /* descriptor of /dev/userfaultfd; borrowed */
	int uffd_job;	     /* a forked child's own userfaultfd, or -1: make one */
	int wake_read_fd;    /* read end of the wake pipe; borrowed, passed in */
	int done_fd;	     /* eventfd; borrowed, passed in */
	unsigned int timeout_ms;
	bool no_move; /* this kernel's userfaultfd can't move pages */
};

/* What an agent is to the pager. Zero it, then agent_fini() always works. */
struct agent {
	pid_t pid; /* the agent task */
	int pidfd;
	int uffd_job; /* UFFDIO_API done: FORK REMAP REMOVE UNMAP, THREAD_ID, MOVE */
	int ring_fd;
	struct agent_ring *ring;
};

/* 0; or -errno, *why and err text say why. Nothing is left in the process
 * when it fails. Thread: not the pager's. */
int inject_agent(const struct inject_args *args, struct agent *out, enum inject_refusal *why)
	__attribute__((warn_unused_result));

/* Checks that need no stop: seccomp, tracer, 32-bit, own userfaultfd. */
enum inject_refusal inject_check(pid_t pid);

const char *inject_refusal_text(enum inject_refusal why);

/* The memory shared with an agent: its ring, and the bounce buffer behind it. NULL with errno. */
struct agent_ring *agent_map(int ring_fd);

/* Kills the agent, unmaps the ring, closes descriptors (uffd_job too). */
void agent_fini(struct agent *a);

#endif
