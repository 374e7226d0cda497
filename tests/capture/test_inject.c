/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is entered does not notice: each victim blocks in some way,
 * gets an agent, and judges by itself what its system calls answered.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

#define BOTH(mode) TEST(by_dynamic_##mode), TEST(by_static_##mode)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(nanosleep), BOTH(poll), BOTH(epoll),   BOTH(epoll_eintr), BOTH(epoll_pwait),
		BOTH(futex),	 BOTH(pipe), BOTH(semop),   BOTH(sigsuspend),  BOTH(sigwait),
		BOTH(wait),	 BOTH(busy), BOTH(threads), BOTH(uid),
	};

	return cmocka_run_group_tests(tests, fixture_setup, NULL);
}
