/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is entered does not notice: each victim blocks in some way,
 * gets an agent, and judges by itself what its system calls answered.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "common/base/err.h"
#include "tests/capture/fixture.h"

/* On a busy machine it may be through before we look. */
static bool has_ended(pid_t pid)
{
	struct proc_stat st;

	return proc_stat(pid, &st) || st.state == 'Z';
}

static void not_noticed(const char *program, const char *mode)
{
	struct victim v;
	unsigned int fds;

	victim_start(&v, program, mode);
	nap_ms(50);
	fds = count_fds(v.pid);
	victim_must_inject(&v);
	if (!has_ended(v.pid))
		assert_int_equal(count_fds(v.pid), fds);
	assert_int_equal(victim_wait(&v), 0);
}

#define NOT_NOTICED(mode)                           \
	static void by_dynamic_##mode(void **state) \
	{                                           \
		(void)state;                        \
		not_noticed(VICTIM_DYNAMIC, #mode); \
	}                                           \
	static void by_static_##mode(void **state)  \
	{                                           \
		(void)state;                        \
		not_noticed(VICTIM_STATIC, #mode);  \
	}

NOT_NOTICED(nanosleep)
NOT_NOTICED(poll)
NOT_NOTICED(epoll)
NOT_NOTICED(epoll_eintr)
NOT_NOTICED(epoll_pwait)
NOT_NOTICED(futex)
NOT_NOTICED(pipe)
NOT_NOTICED(semop)
NOT_NOTICED(sigsuspend)
NOT_NOTICED(sigwait)
NOT_NOTICED(wait)
NOT_NOTICED(busy)
NOT_NOTICED(threads)
NOT_NOTICED(uid)

static void map_and_wait(void *at)
{
	char byte;

	if (at && mmap(at, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		       -1, 0) != at)
		_exit(1);
	if (write(STDOUT_FILENO, "R", 1) != 1 || read(STDIN_FILENO, &byte, 1) < 0)
		_exit(1);
}

static uint64_t agents_place(void *taken)
{
	struct victim v;
	uint64_t start;

	victim_fork(&v, map_and_wait, taken);
	victim_ready(&v);
	victim_must_inject(&v);
	start = v.agent.ring->own_start;
	victim_kill(&v);
	return start;
}

/* Not in a hole that the process made, where it may map later. */
static void far_from_the_job(void **state)
{
	uint64_t first = agents_place(NULL), second;

	(void)state;
	second = agents_place((void *)(uintptr_t)first);
	assert_true(second > first);
	assert_true(second - first < 1ULL << 30);
}

#define BOTH(mode) TEST(by_dynamic_##mode), TEST(by_static_##mode)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(nanosleep),   BOTH(poll),	      BOTH(epoll),
		BOTH(epoll_eintr), BOTH(epoll_pwait), BOTH(futex),
		BOTH(pipe),	   BOTH(semop),	      BOTH(sigsuspend),
		BOTH(sigwait),	   BOTH(wait),	      BOTH(busy),
		BOTH(threads),	   BOTH(uid),	      TEST(far_from_the_job),
	};

	return cmocka_run_group_tests(tests, fixture_setup, NULL);
}
