/* SPDX-License-Identifier: Apache-2.0 */
/* Futexes that hand over ownership or waiters inside the kernel, on pages that go
 * remote meanwhile: priority-inheriting locks, and requeueing from one word to
 * another. Nobody sleeps for ever, nothing is counted twice. */
#include "job.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS 6
#define LOCKS	128
#define TURNS	3000

struct lock {
	pthread_mutex_t mutex;
	unsigned long count;
	char pad[PG - sizeof(pthread_mutex_t) - sizeof(unsigned long)];
};

struct words {
	_Alignas(PG) uint32_t first;
	_Alignas(PG) uint32_t second;
};

static struct lock *locks;
static struct words *words;
static uint32_t waiting, woken; /* atomic */

static void *locker(void *arg)
{
	uint64_t rng = (uintptr_t)arg;

	for (int i = 0; i < TURNS; i++) {
		struct lock *l = &locks[job_rand(&rng) % LOCKS];

		CHECK(pthread_mutex_lock(&l->mutex) == 0);
		l->count++;
		CHECK(pthread_mutex_unlock(&l->mutex) == 0);
	}
	return NULL;
}

static long futex(uint32_t *word, int op, uint32_t value, uintptr_t more, uint32_t *other,
		  uint32_t expected)
{
	return syscall(SYS_futex, word, op, value, more, other, expected);
}

static void *waiter(void *arg)
{
	(void)arg;
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&words->first, __ATOMIC_SEQ_CST)) {
		if (futex(&words->first, FUTEX_WAIT, 0, 0, NULL, 0) == 0)
			break; /* woken from the second word */
		CHECK(errno == EAGAIN || errno == EINTR);
	}
	__atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void nap(void)
{
	usleep(20000);
}

/* All sleep on the first word, are moved to the second and woken there. */
static void requeue(void)
{
	pthread_t t[THREADS];
	long moved = 0;

	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, waiter, NULL) == 0);
	while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < THREADS)
		nap();
	job_pressure(); /* both words are remote now */
	for (int tries = 0; moved < THREADS && tries < 500; tries++) {
		long n = futex(&words->first, FUTEX_CMP_REQUEUE, 0, INT_MAX, &words->second, 0);

		CHECK(n >= 0);
		moved += n > 0 ? n : 0;
		nap();
	}
	CHECK(moved == THREADS);
	job_pressure();
	CHECK(futex(&words->second, FUTEX_WAKE, INT_MAX, 0, NULL, 0) == THREADS);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(woken == THREADS);
}

static void inherit(void)
{
	pthread_t t[THREADS];
	unsigned long sum = 0;
	pthread_mutexattr_t attr;

	CHECK(pthread_mutexattr_init(&attr) == 0);
	CHECK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT) == 0);
	for (int i = 0; i < LOCKS; i++)
		CHECK(pthread_mutex_init(&locks[i].mutex, &attr) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, locker, (void *)(i + 1)) == 0);
	job_pressure();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (int i = 0; i < LOCKS; i++)
		sum += locks[i].count;
	CHECK(sum == (unsigned long)THREADS * TURNS);
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG - LOCKS - 2;
	char *m = job_map(nr * PG);

	locks = job_map(LOCKS * sizeof(*locks));
	words = job_map(sizeof(*words));
	pages_write(m, 0, nr, 1);
	job_pressure();
	inherit();
	requeue();
	pages_check(m, 0, nr, 1);
	return job_done();
}
