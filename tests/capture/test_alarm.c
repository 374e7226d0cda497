/* SPDX-License-Identifier: Apache-2.0 */
/* The programs tell which of the watched threads sleep, and wake with the first that wakes. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/capture/bpf_fast.h"
#include "common/base/err.h"

#define PATIENCE_MS 20000 /* on a busy machine */

static struct bpf_fast *fast;
static struct fast_shared *shared;
static int to_sleeper[2], from_sleeper[2];

static void *sleeper(void *arg)
{
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	char byte;

	(void)arg;
	if (write(from_sleeper[1], &tid, sizeof(tid)) == sizeof(tid))
		while (read(to_sleeper[0], &byte, 1) == 1)
			;
	return NULL;
}

static bool sleeps_in_time(unsigned int i)
{
	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (__atomic_load_n(&shared->watch[i].sleeps, __ATOMIC_ACQUIRE))
			return true;
		usleep(1000);
	}
	return false;
}

static void wake_it(void)
{
	assert_int_equal(write(to_sleeper[1], "", 1), 1);
}

static bool rings_in(int ms)
{
	struct pollfd fd = {.fd = fast_alarm_fd(fast), .events = POLLIN};

	return poll(&fd, 1, ms) == 1 && fast_alarm_rang(fast);
}

/* Watched in the last place, so that those before it are passed over. */
static void the_alarm_rings_with_who_is_watched(void **state)
{
	unsigned int last = FAST_WATCHED - 1;
	pthread_t thread;
	uint32_t tid;

	(void)state;
	assert_int_equal(pipe(to_sleeper) | pipe(from_sleeper), 0);
	assert_int_equal(pthread_create(&thread, NULL, sleeper, NULL), 0);
	assert_int_equal(read(from_sleeper[0], &tid, sizeof(tid)), sizeof(tid));
	for (unsigned int i = 0; i < last; i++)
		shared->watch[i].tid = UINT32_MAX - i; /* nobody */
	shared->watch[last].tid = tid;
	wake_it(); /* it was asleep before it was watched */
	assert_true(sleeps_in_time(last));

	wake_it(); /* nobody asked to be woken */
	assert_false(rings_in(100));
	assert_true(sleeps_in_time(last));

	shared->alarm = 1;
	wake_it();
	assert_true(rings_in(PATIENCE_MS));
	assert_int_equal(shared->alarm, 0);
	assert_false(rings_in(0));

	assert_true(sleeps_in_time(last));
	wake_it(); /* once for each time it was asked */
	assert_false(rings_in(100));

	close(to_sleeper[1]);
	pthread_join(thread, NULL);
	assert_true(sleeps_in_time(last)); /* it has ended */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_alarm_rings_with_who_is_watched),
	};
	int rc = fast_load(&fast, &shared);

	if (rc) {
		printf("skipped: %s\n", err_text(rc));
		return 77;
	}
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	fast_unload(fast);
	return rc;
}
