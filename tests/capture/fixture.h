/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the capture tests: start a victim, put an agent into it, give the agent
 * commands. Everything aborts the test on the first surprise.
 */
#ifndef RMEM_TESTS_CAPTURE_FIXTURE_H
#define RMEM_TESTS_CAPTURE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/capture/inject.h"

struct victim {
	pid_t pid;
	int stdin_fd, stdout_fd;
	struct agent agent;
	int wake_fd; /* write end */
	int wake_read_fd;
	int done_fd;
	int uffd_given; /* for the next injection; -1: none */
};

int fixture_setup(void **state);      /* once: /dev/userfaultfd; skips without rights */
int fixture_setup_move(void **state); /* the same; skips without UFFDIO_MOVE, too */
int fixture_teardown(void **state);   /* after each test: nothing is left */

#define TEST(fn) cmocka_unit_test_teardown(fn, fixture_teardown)

void victim_start(struct victim *v, const char *program, const char *mode);
/* The program is this one: @fn runs in a child, after which it exits. */
void victim_fork(struct victim *v, void (*fn)(void *arg), void *arg);
void victim_ready(struct victim *v); /* waits for its "R" */

/* 0 or -errno; *@why as inject_agent(). */
int victim_inject(struct victim *v, enum inject_refusal *why);
void victim_must_inject(struct victim *v);

/* Waits for its end; returns its wait status. Kills the agent. */
int victim_wait(struct victim *v);
void victim_kill(struct victim *v);

/* Queues @cmd, wakes the agent, waits for the answer in *@cmd. */
void victim_command(struct victim *v, struct agent_cmd *cmd);
void victim_queue(struct victim *v, const struct agent_cmd *cmd, unsigned int *slot);
void victim_answer(struct victim *v, unsigned int slot, struct agent_cmd *cmd);

unsigned int count_fds(pid_t pid);
uint64_t now_ns(void);
void nap_ms(unsigned int ms);

#endif
