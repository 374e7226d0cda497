/* SPDX-License-Identifier: Apache-2.0 */
/* Locks, condition variables and semaphores on pages that go remote while
 * threads wait on them: nobody sleeps for ever, nothing is counted twice. */
#include "job.h"

#include <pthread.h>
#include <semaphore.h>

#define THREADS 8
#define LOCKS	512
#define TURNS	4000

struct lock {
	pthread_mutex_t mutex;
	unsigned long count;
	char pad[PG - sizeof(pthread_mutex_t) - sizeof(unsigned long)];
};

static struct lock *locks;
static sem_t *turn; /* ring of threads, one semaphore a page */

static void *locker(void *arg)
{
	uint64_t rng = (uintptr_t)arg;

	for (int i = 0; i < TURNS; i++) {
		struct lock *l = &locks[job_rand(&rng) % LOCKS];

		pthread_mutex_lock(&l->mutex);
		l->count++;
		pthread_mutex_unlock(&l->mutex);
	}
	return NULL;
}

static void *ringer(void *arg)
{
	size_t me = (uintptr_t)arg;

	for (int i = 0; i < 300; i++) {
		CHECK(sem_wait((sem_t *)((char *)turn + me * PG)) == 0);
		CHECK(sem_post((sem_t *)((char *)turn + (me + 1) % THREADS * PG)) == 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[2 * THREADS];
	unsigned long sum = 0;

	job_init(argc, argv);

	size_t nr = job_half / PG - LOCKS - THREADS;
	char *m = job_map(nr * PG);

	locks = job_map(LOCKS * sizeof(*locks));
	turn = job_map(THREADS * PG);
	pages_write(m, 0, nr, 1);
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&locks[i].mutex, NULL);
	for (size_t i = 0; i < THREADS; i++)
		sem_init((sem_t *)((char *)turn + i * PG), 0, 0);
	for (uintptr_t i = 0; i < THREADS; i++) {
		CHECK(pthread_create(&t[i], NULL, ringer, (void *)i) == 0);
		CHECK(pthread_create(&t[THREADS + i], NULL, locker, (void *)(i + 1)) == 0);
	}
	job_pressure(); /* the ringers wait all this time */
	CHECK(sem_post(turn) == 0);
	job_pressure();
	for (int i = 0; i < 2 * THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (int i = 0; i < LOCKS; i++)
		sum += locks[i].count;
	CHECK(sum == (unsigned long)THREADS * TURNS);
	pages_check(m, 0, nr, 1);
	return job_done();
}
