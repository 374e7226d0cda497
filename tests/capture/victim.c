/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that looks closely at itself while it is being entered.
 *
 *	victim MODE
 *
 * writes "R" to stdout when it is about to do what MODE says, does it, and
 * exits 0 when the system calls answered exactly as they do undisturbed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAP_MS	   400
#define LATE_MS	   300 /* a busy machine may wake us late, never early */
#define NR_THREADS 4

static const char *mode;
static volatile sig_atomic_t alarms;

#define CHECK(cond)                                                                          \
	do {                                                                                 \
		if (!(cond)) {                                                               \
			fprintf(stderr, "victim %s: line %d: not so: %s (errno %s)\n", mode, \
				__LINE__, #cond, strerror(errno));                           \
			exit(1);                                                             \
		}                                                                            \
	} while (0)

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void ready(void)
{
	CHECK(write(1, "R", 1) == 1);
}

static void check_slept(int64_t start_ms)
{
	int64_t ms = now_ms() - start_ms;

	if (ms < NAP_MS - 2 || ms > NAP_MS + LATE_MS) {
		fprintf(stderr, "victim %s: slept %d ms, not %d\n", mode, (int)ms, NAP_MS);
		exit(1);
	}
}

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void alarm_after_nap(int flags)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = flags};
	struct itimerval it = {.it_value = {.tv_usec = NAP_MS * 1000}};

	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
}

static int timer_after_nap(void)
{
	struct itimerspec it = {.it_value = {.tv_nsec = NAP_MS * 1000000L}};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	CHECK(fd >= 0 && timerfd_settime(fd, 0, &it, NULL) == 0);
	return fd;
}

static int epoll_on(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(ep >= 0);
	if (fd >= 0)
		CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
	return ep;
}

static void do_nanosleep(void)
{
	struct timespec ts = {.tv_nsec = NAP_MS * 1000000L};
	int64_t start = now_ms();

	CHECK(nanosleep(&ts, NULL) == 0);
	check_slept(start);
}

static void do_poll(void)
{
	int64_t start = now_ms();

	CHECK(poll(NULL, 0, NAP_MS) == 0);
	check_slept(start);
}

static void do_epoll(void)
{
	struct epoll_event ev;
	int fd = timer_after_nap(), ep = epoll_on(fd);
	int64_t start = now_ms();

	CHECK(epoll_wait(ep, &ev, 1, -1) == 1);
	check_slept(start);
	close(ep);
	close(fd);
}

/* An alarm must still cut it short. */
static void do_epoll_eintr(void)
{
	struct epoll_event ev;
	int ep = epoll_on(-1);
	int64_t start = now_ms();

	alarm_after_nap(SA_RESTART);
	CHECK(epoll_wait(ep, &ev, 1, -1) == -1 && errno == EINTR && alarms == 1);
	check_slept(start);
	close(ep);
}

/* A signal that only the call itself lets through. */
static void do_epoll_pwait(void)
{
	struct epoll_event ev;
	int ep = epoll_on(-1);
	int64_t start = now_ms();
	sigset_t block, none, after;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &block, NULL) == 0);
	alarm_after_nap(0);
	CHECK(epoll_pwait(ep, &ev, 1, -1, &none) == -1 && errno == EINTR && alarms == 1);
	check_slept(start);
	CHECK(sigprocmask(SIG_SETMASK, NULL, &after) == 0 && sigismember(&after, SIGALRM));
	CHECK(sigprocmask(SIG_UNBLOCK, &block, NULL) == 0);
	close(ep);
}

static void do_sigsuspend(void)
{
	int64_t start = now_ms();
	sigset_t block, none, after;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &block, NULL) == 0);
	alarm_after_nap(0);
	CHECK(sigsuspend(&none) == -1 && errno == EINTR && alarms == 1);
	check_slept(start);
	CHECK(sigprocmask(SIG_SETMASK, NULL, &after) == 0 && sigismember(&after, SIGALRM));
	CHECK(sigprocmask(SIG_UNBLOCK, &block, NULL) == 0);
}

static void do_sigwait(void)
{
	int64_t start = now_ms();
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &block, NULL) == 0);
	alarm_after_nap(0);
	CHECK(sigwaitinfo(&block, NULL) == SIGALRM);
	check_slept(start);
	CHECK(sigprocmask(SIG_UNBLOCK, &block, NULL) == 0);
}

static void do_futex(void)
{
	struct timespec ts = {.tv_nsec = NAP_MS * 1000000L};
	static uint32_t word;
	int64_t start = now_ms();

	CHECK(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0) == -1 &&
	      errno == ETIMEDOUT);
	check_slept(start);
}

static void do_pipe(void)
{
	struct timespec ts = {.tv_nsec = NAP_MS * 1000000L};
	int64_t start = now_ms();
	int p[2], st;
	char c = 0;
	pid_t kid;

	CHECK(pipe(p) == 0);
	kid = fork();
	if (!kid) {
		nanosleep(&ts, NULL);
		_exit(write(p[1], "x", 1) != 1);
	}
	CHECK(read(p[0], &c, 1) == 1 && c == 'x');
	check_slept(start);
	CHECK(waitpid(kid, &st, 0) == kid && st == 0);
	close(p[0]);
	close(p[1]);
}

static void do_semop(void)
{
	struct timespec ts = {.tv_nsec = NAP_MS * 1000000L};
	struct sembuf down = {0, -1, 0}, up = {0, 1, 0};
	int64_t start = now_ms();
	int id = semget(IPC_PRIVATE, 1, 0600), ret, st;
	pid_t kid;

	CHECK(id >= 0);
	kid = fork();
	if (!kid) {
		nanosleep(&ts, NULL);
		_exit(semop(id, &up, 1) != 0);
	}
	ret = semop(id, &down, 1);
	semctl(id, 0, IPC_RMID);
	CHECK(ret == 0);
	check_slept(start);
	CHECK(waitpid(kid, &st, 0) == kid && st == 0);
}

static void do_wait(void)
{
	struct timespec ts = {.tv_nsec = NAP_MS * 1000000L};
	int64_t start = now_ms();
	pid_t kid = fork();
	int st;

	if (!kid) {
		nanosleep(&ts, NULL);
		_exit(7);
	}
	CHECK(wait(&st) == kid && WIFEXITED(st) && WEXITSTATUS(st) == 7);
	check_slept(start);
}

static void do_vfork(void)
{
	struct timespec ts = {.tv_nsec = NAP_MS * 1000000L};
	int64_t start = now_ms();
	pid_t kid;
	int st;

	kid = vfork();
	if (!kid) {
		nanosleep(&ts, NULL);
		_exit(3);
	}
	CHECK(kid > 0);
	check_slept(start);
	CHECK(waitpid(kid, &st, 0) == kid && WIFEXITED(st) && WEXITSTATUS(st) == 3);
}

/* Every register it can hold is in use; the two halves must agree. */
static void do_busy(void)
{
	int64_t end = now_ms() + NAP_MS;

	while (now_ms() < end) {
		uint64_t a = 1, b = 1;
		double x = 1, y = 1;

		for (unsigned int i = 1; i < 20000; i++) {
			a = a * 6364136223846793005ULL + i;
			b = b * 6364136223846793005ULL + i;
			x = x * 1.0000001 + 1e-9 * i;
			y = y * 1.0000001 + 1e-9 * i;
		}
		CHECK(a == b);
		CHECK(memcmp(&x, &y, sizeof(x)) == 0);
	}
}

static void *busy_thread(void *arg)
{
	int64_t end = now_ms() + (int64_t)(intptr_t)arg;
	char *slot[64] = {0};
	unsigned int seed = (unsigned int)gettid();

	while (now_ms() < end) {
		for (int i = 0; i < 1000; i++) {
			size_t n = (size_t)rand_r(&seed) % 2000 + 1;
			char **s = &slot[rand_r(&seed) % 64];

			CHECK(sched_getcpu() >= 0);
			if (*s)
				CHECK((*s)[0] == (char)gettid());
			free(*s);
			*s = malloc(n);
			CHECK(*s);
			memset(*s, (char)gettid(), n);
		}
	}
	for (int i = 0; i < 64; i++)
		free(slot[i]);
	return NULL;
}

static void run_threads(int ms)
{
	pthread_t t[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, busy_thread, (void *)(intptr_t)ms) == 0);
	for (int i = 0; i < NR_THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static void do_threads(void)
{
	run_threads(NAP_MS);
}

static void do_long(void)
{
	run_threads(60000);
}

/* Until the tester closes our stdin. */
static void do_idle(void)
{
	char c;

	CHECK(read(0, &c, 1) == 0);
}

static void do_uid(void)
{
	CHECK(setgid(65534) == 0 && setuid(65534) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	do_nanosleep();
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{"busy", do_busy},
	{"epoll", do_epoll},
	{"epoll_eintr", do_epoll_eintr},
	{"epoll_pwait", do_epoll_pwait},
	{"futex", do_futex},
	{"idle", do_idle},
	{"long", do_long},
	{"nanosleep", do_nanosleep},
	{"pipe", do_pipe},
	{"poll", do_poll},
	{"semop", do_semop},
	{"sigsuspend", do_sigsuspend},
	{"sigwait", do_sigwait},
	{"threads", do_threads},
	{"uid", do_uid},
	{"vfork", do_vfork},
	{"wait", do_wait},
};

static unsigned int open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int main(int argc, char **argv)
{
	unsigned int before;
	sigset_t mask, after;

	mode = argc > 1 ? argv[1] : "";
	before = open_descriptors();
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, mode) != 0)
			continue;
		ready();
		modes[i].run();
		CHECK(open_descriptors() == before);
		sigprocmask(SIG_SETMASK, NULL, &after);
		CHECK(memcmp(&mask, &after, sizeof(mask) < 8 ? sizeof(mask) : 8) == 0);
		CHECK(wait4(-1, NULL, 0, NULL) == -1 && errno == ECHILD);
		return 0;
	}
	fprintf(stderr, "victim: no mode '%s'\n", mode);
	return 2;
}
