/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.1: a MOVE that is stale by one MAP_FIXED takes a page of the new
 * mapping: through a second userfaultfd even while the event is unread; through
 * the job's own, EAGAIN stops it until the event was read, and nothing after. */
#include "trap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *m;
static atomic_int step;

/* Puts a new mapping over the old; another thread already uses it. */
static void *replace(void *arg)
{
	(void)arg;
	mmap(m, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	step = 2;
	return NULL;
}

static int stale(bool own, bool event_read)
{
	int job = trap_uffd(EVENTS), second = trap_uffd(0), via = own ? job : second, err;
	char *scratch = trap_map(1);
	struct uffd_msg msg;
	pthread_t t;

	step = 0;
	m = trap_map(1);
	memset(m, 1, PG);
	trap_register(job, m, 1);
	trap_register(via, scratch, 1);
	pthread_create(&t, NULL, replace, NULL);
	usleep(50000); /* it waits: its UNMAP event is unread; the mapping is there */
	if (event_read) {
		trap_read(job, &msg);
		while (step != 2)
			;
	}
	memset(m, 0x77, PG); /* the job's new data */
	err = trap_move(via, scratch, m, 1, 0, NULL);
	if (!event_read)
		trap_read(job, &msg);
	pthread_join(t, NULL);
	close(job);
	close(second);
	return err;
}

int main(void)
{
	trap_expect(stale(false, false) == 0, "second userfaultfd, event unread: taken");
	trap_expect(stale(false, true) == 0, "second userfaultfd, event read: taken");
	trap_expect(stale(true, false) == -EAGAIN, "the job's own, event unread: EAGAIN");
	trap_expect(stale(true, true) == 0, "the job's own, event read: taken");
	return trap_done();
}
