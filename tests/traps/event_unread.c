/* SPDX-License-Identifier: Apache-2.0 */
/* Section 4: an event blocks its caller until it is read; while one is unread
 * every fill answers EAGAIN, and read(2) hands out faults before events. */
#include "trap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

static char *m;
static atomic_bool dropped;

static void *dropper(void *arg)
{
	(void)arg;
	madvise(m, PG, MADV_DONTNEED);
	dropped = true;
	return NULL;
}

static void *toucher(void *arg)
{
	(void)arg;
	(void)*(volatile char *)(m + 2 * PG);
	return NULL;
}

int main(void)
{
	int uffd = trap_uffd(EVENTS);
	struct uffd_msg msg;
	pthread_t a, b;

	m = trap_map(4);
	m[0] = 1;
	trap_register(uffd, m, 4);
	pthread_create(&a, NULL, dropper, NULL);
	usleep(100000);
	trap_expect(!dropped, "MADV_DONTNEED waits until its REMOVE event is read");
	trap_expect(trap_copy(uffd, m + PG, 1) == -EAGAIN, "a fill meanwhile answers EAGAIN");
	pthread_create(&b, NULL, toucher, NULL);
	usleep(100000);
	trap_expect(trap_read(uffd, &msg) && msg.event == UFFD_EVENT_PAGEFAULT,
		    "the fault is read before the older event");
	trap_expect(trap_read(uffd, &msg) && msg.event == UFFD_EVENT_REMOVE, "then the event");
	pthread_join(a, NULL);
	trap_expect(trap_copy(uffd, m + 2 * PG, 1) == 0, "and now fills work again");
	pthread_join(b, NULL);
	return trap_done();
}
