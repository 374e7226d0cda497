/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.2: REMOVE is read before the kernel zaps. A MOVE between the two
 * takes out bytes that the job has already thrown away; brought back later they
 * are old data where Linux promises zeros. Hence: a removed page is not
 * evictable until it has faulted again. Tried up to 20,000 times. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include <errno.h>

#include "trap.h"

#define ROUNDS 20000

static char *m;
static atomic_int phase; /* 1: the job calls madvise, 2: it is done */

static void *thrower(void *arg)
{
	(void)arg;
	for (;;) {
		while (phase != 1)
			;
		madvise(m, PG, MADV_DONTNEED);
		phase = 2;
	}
	return NULL;
}

/* True when a MOVE got the page although its REMOVE had been read. */
static bool one_round(int job, char *scratch)
{
	struct uffd_msg msg;
	int err;

	trap_copy(job, m, 0x5a);
	phase = 1;
	while (read(job, &msg, sizeof(msg)) != sizeof(msg))
		;
	do
		err = trap_move(job, scratch, m, 1, 0, NULL);
	while (err == -EAGAIN && phase == 1);
	while (phase != 2)
		;
	return err == 0;
}

int main(void)
{
	int job = trap_uffd(EVENTS), aside = trap_uffd(0);
	char *a = trap_map(1), *b = trap_map(1);
	unsigned int taken = 0;
	pthread_t t;

	m = trap_map(1);
	trap_register(job, m, 1);
	trap_register(job, a, 1);
	trap_register(aside, b, 1);
	pthread_create(&t, NULL, thrower, NULL);
	for (int round = 0; round < ROUNDS && !taken; round++) {
		if (!one_round(job, a))
			continue;
		taken += trap_move(aside, b, a, 1, 0, NULL) == 0 &&
			 *(volatile unsigned char *)b == 0x5a;
	}
	if (!taken)
		trap_skip("the race was not met on this machine");
	trap_expect(taken > 0, "a MOVE after the REMOVE was read takes the old bytes");
	return trap_done();
}
