/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Injection again and again, at bad moments: threads that use restartable
 * sequences, stops and continues in between.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "common/base/err.h"
#include "tests/capture/fixture.h"

#define NR_INJECTIONS 200
#define BUSY_NS	      20000000000ULL
#define NR_STOPS      40
#define NR_SECTIONS   20
#define NR_EXECS      300

struct shared {
	volatile uint32_t finish, entered, aborted;
};

static struct shared *shared;

/* Where each step takes far longer there are fewer of them. */
static unsigned int less_often(void)
{
	return getenv("RMEM_TEST_SLOW") ? 5 : 1;
}

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static char state_of(pid_t pid)
{
	struct proc_stat st;

	assert_int_equal(proc_stat(pid, &st), 0);
	return st.state;
}

/* Injects and takes the agent away again; the pipe stays open. */
static uint64_t inject_once(struct victim *v)
{
	uint64_t start = now_ns();
	struct agent_cmd cmd = {.op = AGENT_EXIT};
	enum inject_refusal why;
	int ret = victim_inject(v, &why);

	if (ret) {
		int st = 0;

		nap_ms(50);
		waitpid(v->pid, &st, WNOHANG);
		fail_msg("%s (%s); status %x", err_text(ret), inject_refusal_text(why),
			 (unsigned int)st);
	}
	start = now_ns() - start;
	victim_command(v, &cmd);
	agent_fini(&v->agent);
	return start;
}

static void print_times(const char *what, uint64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), cmp_u64);
	printf("injection, %s: %d times, median %d us, 90%% %d us\n", what, (int)n,
	       (int)(ns[n / 2] / 1000), (int)(ns[n * 9 / 10] / 1000));
}

static void sleeper_is_entered_quickly(void **state)
{
	static uint64_t ns[NR_INJECTIONS];
	unsigned int nr = NR_INJECTIONS / less_often();
	struct victim v;

	(void)state;
	victim_start(&v, VICTIM_DYNAMIC, "idle");
	for (unsigned int i = 0; i < nr; i++)
		ns[i] = inject_once(&v);
	print_times("sleeping", ns, nr);
	close(v.stdin_fd);
	v.stdin_fd = dup(2);
	assert_int_equal(victim_wait(&v), 0);
}

static void busy_threads_survive(void **state)
{
	static uint64_t ns[NR_INJECTIONS];
	size_t nr = NR_INJECTIONS / less_often(), n = 0;
	uint64_t end = now_ns() + BUSY_NS;
	struct victim v;

	(void)state;
	victim_start(&v, VICTIM_DYNAMIC, "long");
	nap_ms(50);
	while (n < nr && now_ns() < end)
		ns[n++] = inject_once(&v);
	print_times("busy", ns, n);
	assert_in_range(n, nr / 10, nr);
	assert_int_equal(waitpid(v.pid, NULL, WNOHANG), 0); /* no check of its failed */
	victim_kill(&v);
}

static void wait_for_state(pid_t pid, char wanted)
{
	uint64_t end = now_ns() + 2000000000ULL;

	while (state_of(pid) != wanted) {
		if (now_ns() > end)
			fail_msg("state is %c, not %c", state_of(pid), wanted);
		nap_ms(1);
	}
}

static void idle_entry(void *arg)
{
	(void)arg;
	if (write(1, "R", 1) != 1)
		_exit(8);
	for (;;)
		pause();
}

static void spin_entry(void *arg)
{
	(void)arg;
	if (write(1, "R", 1) != 1)
		_exit(8);
	for (;;)
		__asm__ volatile("" ::: "memory");
}

static void *stop_soon(void *arg)
{
	const struct victim *v = arg;

	usleep((useconds_t)(rand() % 800));
	kill(-v->pid, SIGSTOP);
	return NULL;
}

static void stops_are_kept(void (*fn)(void *))
{
	struct victim v;
	pthread_t t;

	victim_fork(&v, fn, NULL);
	victim_ready(&v);
	for (int i = 0; i < NR_STOPS; i++) {
		assert_int_equal(pthread_create(&t, NULL, stop_soon, &v), 0);
		inject_once(&v);
		pthread_join(t, NULL);
		wait_for_state(v.pid, 'T');
		inject_once(&v);	    /* into a process that is stopped, and stays so */
		wait_for_state(v.pid, 'T'); /* on a busy machine, a moment after it is let go */
		nap_ms(2);
		assert_int_equal(state_of(v.pid), 'T');
		kill(-v.pid, SIGCONT);
		wait_for_state(v.pid, fn == spin_entry ? 'R' : 'S');
	}
	victim_kill(&v);
}

static void stop_of_a_sleeper_is_kept(void **state)
{
	(void)state;
	stops_are_kept(idle_entry);
}

static void stop_of_a_runner_is_kept(void **state)
{
	(void)state;
	stops_are_kept(spin_entry);
}

/* A restartable sequence that lasts until it is aborted or told to finish. */
static bool section_aborted(struct rseq *rs, volatile uint32_t *finish)
{
	int aborted = 0;

	__asm__ volatile(".pushsection __rseq_cs, \"aw\"\n\t"
			 ".balign 32\n"
			 "3:\t.long 0, 0\n\t"
			 ".quad 1f, 2f - 1f, 4f\n\t"
			 ".popsection\n\t"
			 "leaq 3b(%%rip), %%rax\n\t"
			 "movq %%rax, %c[cs](%[rs])\n"
			 "1:\tmovl (%[finish]), %%eax\n\t"
			 "testl %%eax, %%eax\n\t"
			 "jz 1b\n"
			 "2:\tjmp 5f\n\t"
			 ".byte 0x0f, 0xb9, 0x3d\n\t" /* the signature, as an instruction */
			 ".long %c[sig]\n"
			 "4:\tmovl $1, %[aborted]\n"
			 "5:\n"
			 : [aborted] "+r"(aborted)
			 : [rs] "r"(rs), [finish] "r"(finish),
			   [cs] "i"(offsetof(struct rseq, rseq_cs)), [sig] "i"(RSEQ_SIG)
			 : "rax", "memory");
	return aborted;
}

static void section_entry(void *arg)
{
	struct rseq *rs = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	(void)arg;
	if (write(1, "R", 1) != 1)
		_exit(8);
	while (!shared->finish) {
		shared->entered++;
		if (section_aborted(rs, &shared->finish))
			shared->aborted++;
	}
}

static void restartable_sequence_is_aborted(void **state)
{
	struct victim v;
	uint32_t before;

	(void)state;
	if (!__rseq_size)
		skip();
	shared = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	victim_fork(&v, section_entry, NULL);
	victim_ready(&v);
	for (int i = 0; i < NR_SECTIONS; i++) {
		nap_ms(5);
		before = shared->aborted;
		inject_once(&v);
		/* A section whose abort was cancelled never ends. */
		for (int k = 0; k < 1000 && shared->aborted == before; k++)
			nap_ms(1);
		assert_true(shared->aborted > before);
	}
	shared->finish = 1;
	assert_int_equal(victim_wait(&v), 0);
	munmap(shared, PAGE_BYTES);
}

static void exec_entry(void *arg)
{
	(void)arg;
	if (write(1, "R", 1) != 1)
		_exit(8);
	setenv("AGAIN", "exec sh -c \"$AGAIN\"", 1);
	execl("/bin/sh", "sh", "-c", getenv("AGAIN"), (char *)NULL);
	_exit(9);
}

/* Half an image is no reason to leave a process alone for good. */
static void exec_is_a_reason_to_try_again(void **state)
{
	unsigned int nr = NR_EXECS / less_often(), nr_entered = 0;
	struct victim v;

	(void)state;
	victim_fork(&v, exec_entry, NULL);
	victim_ready(&v);
	for (unsigned int i = 0; i < nr; i++) {
		enum inject_refusal why;
		int ret = victim_inject(&v, &why);

		if (ret && why != REFUSE_GONE && why != REFUSE_STUCK)
			fail_msg("%s (%s)", err_text(ret), inject_refusal_text(why));
		nr_entered += !ret;
		agent_fini(&v.agent);
	}
	printf("injection, into exec: %u of %u times\n", nr_entered, nr);
	victim_kill(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sleeper_is_entered_quickly),      TEST(busy_threads_survive),
		TEST(stop_of_a_sleeper_is_kept),       TEST(stop_of_a_runner_is_kept),
		TEST(restartable_sequence_is_aborted), TEST(exec_is_a_reason_to_try_again),
	};

	return cmocka_run_group_tests(tests, fixture_setup, NULL);
}
