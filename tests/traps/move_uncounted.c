/* SPDX-License-Identifier: Apache-2.0 */
/* A page table entry that changes under UFFDIO_MOVE (here: an accessed bit that
 * was cleared is set again) makes Linux 6.18 repeat the step, take it for undone
 * and answer EEXIST: pages have moved that no count tells of. Whoever believes
 * the count gives the job zeros for them. */
#include "trap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

#define SECONDS 10

static char *m, *scratch;
static atomic_bool over;

/* One sets the accessed bit, the other clears it, both all the time. */
static void *toucher(void *arg)
{
	(void)arg;
	while (!atomic_load(&over))
		(void)*(volatile char *)m;
	return NULL;
}

static void *cooler(void *arg)
{
	(void)arg;
	while (!atomic_load(&over))
		madvise(m, PG, MADV_COLD);
	return NULL;
}

static bool is_there(char *at)
{
	unsigned char there = 0;

	return !mincore(at, PG, &there) && (there & 1);
}

/* Out and back; was the way out not counted? */
static bool is_uncounted(int uffd)
{
	int64_t moved = 0;
	int err = trap_move(uffd, scratch, m, 1, UFFDIO_MOVE_MODE_DONTWAKE, &moved);
	bool lost = err && moved <= 0 && is_there(scratch) && !is_there(m);

	while (is_there(scratch))
		trap_move(uffd, m, scratch, 1, 0, &moved);
	trap_wake(uffd, m);
	return lost;
}

int main(void)
{
	int uffd = trap_uffd(UFFD_FEATURE_MOVE);
	time_t end = time(NULL) + SECONDS;
	bool lost = false;
	pthread_t t[2];

	m = trap_map(1);
	scratch = trap_map(1);
	*m = 1;
	trap_register(uffd, m, 1);
	trap_register(uffd, scratch, 1);
	pthread_create(&t[0], NULL, toucher, NULL);
	pthread_create(&t[1], NULL, cooler, NULL);
	while (!lost && time(NULL) < end)
		lost = is_uncounted(uffd);
	atomic_store(&over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	if (!lost)
		trap_skip("every page was counted for 10 s: this kernel may be without the bug");
	trap_expect(lost, "a page has moved that was not counted");
	return trap_done();
}
