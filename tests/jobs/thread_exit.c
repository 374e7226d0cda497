/* SPDX-License-Identifier: Apache-2.0 */
/* Threads end after their stacks and control blocks have gone cold: the kernel
 * writes to clear_child_tid and walks the robust list then, and takes no
 * userfault for it. pthread_join returns, and the next owner of a robust mutex
 * is told that the last one died. */
#include "job.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#define THREADS 64

static pthread_mutex_t *robust; /* one a page, on pages that get cold */
static sem_t go[THREADS], ready;

static pthread_mutex_t *lock_of(uintptr_t i)
{
	return (pthread_mutex_t *)((char *)robust + i * PG);
}

static void *sleeper(void *arg)
{
	uintptr_t i = (uintptr_t)arg;
	char deep[8 * PG];

	pages_write(deep, i, 8, i);
	pthread_mutex_lock(lock_of(i));
	sem_post(&ready);
	while (sem_wait(&go[i]) != 0)
		job_fail("sem_wait was interrupted");
	if (i % 2) /* half of them end without touching their stack much */
		return NULL;
	pages_check(deep, i, 8, i);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t attr;
	pthread_t t[THREADS];

	job_init(argc, argv);
	robust = job_map(THREADS * PG);
	sem_init(&ready, 0, 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	for (uintptr_t i = 0; i < THREADS; i++) {
		sem_init(&go[i], 0, 0);
		CHECK(pthread_mutex_init(lock_of(i), &attr) == 0);
		CHECK(pthread_create(&t[i], NULL, sleeper, (void *)i) == 0);
		sem_wait(&ready);
	}
	for (uintptr_t i = 0; i < THREADS; i++) {
		if (i % 16 == 0)
			job_pressure();
		sem_post(&go[i]);
		CHECK(pthread_join(t[i], NULL) == 0);
		CHECK(pthread_mutex_lock(lock_of(i)) == EOWNERDEAD);
		errno = 0;
	}
	return job_done();
}
