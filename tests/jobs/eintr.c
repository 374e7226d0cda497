/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that wait in epoll_wait, semop, nanosleep, poll, read, msgrcv and a
 * futex while their process comes under pressure: none of these may return
 * early or with EINTR, because nobody sent them a signal. */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#define KINDS 6

static int pipefd[2], semset, queue;
static atomic_int release;
static const char *const kind_name[KINDS] = {"epoll_wait", "semop", "nanosleep",
					     "poll",	   "read",  "msgrcv"};

static int wait_once(int kind)
{
	struct timespec nap = {1, 500000000}, left;
	struct pollfd p = {.fd = pipefd[0], .events = POLLIN};
	struct epoll_event ev = {.events = EPOLLIN};
	struct sembuf op = {0, -1, 0};
	struct msgbuf {
		long type;
		char text[8];
	} msg;
	int ep;
	char c;

	switch (kind) {
	case 0:
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, pipefd[0], &ev);
		return epoll_wait(ep, &ev, 1, -1) == 1 ? 0 : -1;
	case 1:
		return semop(semset, &op, 1);
	case 2:
		return nanosleep(&nap, &left);
	case 3:
		return poll(&p, 1, -1) == 1 ? 0 : -1;
	case 4:
		return read(pipefd[0], &c, 1) == 1 ? 0 : -1;
	default:
		return msgrcv(queue, &msg, 8, 0, 0) >= 0 ? 0 : -1;
	}
}

static void *waiter(void *arg)
{
	int kind = (int)(intptr_t)arg;

	errno = 0;
	if (wait_once(kind) != 0)
		job_fail("%s was disturbed", kind_name[kind]);
	else if (kind != 2 && !release)
		job_fail("%s returned early", kind_name[kind]);
	return NULL;
}

int main(int argc, char **argv)
{
	struct {
		long type;
		char text[8];
	} msg = {1, "go"};
	pthread_t t[KINDS];

	job_init(argc, argv);
	semset = semget(IPC_PRIVATE, 1, 0600);
	queue = msgget(IPC_PRIVATE, 0600);
	CHECK(pipe(pipefd) == 0 && semset >= 0 && queue >= 0);
	for (intptr_t i = 0; i < KINDS; i++)
		CHECK(pthread_create(&t[i], NULL, waiter, (void *)i) == 0);
	usleep(50000);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	pages_check(m, 0, nr, 1);
	CHECK(pthread_join(t[2], NULL) == 0);
	release = 1;
	CHECK(write(pipefd[1], "x", 1) == 1);
	CHECK(semop(semset, &(struct sembuf){0, 1, 0}, 1) == 0);
	CHECK(msgsnd(queue, &msg, 8, 0) == 0);
	usleep(20000);
	CHECK(write(pipefd[1], "xx", 2) == 2); /* poll and epoll do not take it */
	for (int i = 0; i < KINDS; i++)
		if (i != 2)
			CHECK(pthread_join(t[i], NULL) == 0);
	semctl(semset, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
	return job_done();
}
