/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE_WORDS (PG / sizeof(uint64_t))
#define HEAD_WORDS 3 /* number, generation, hash of the rest */
#define MAX_SHOWN  8

size_t job_bytes;
size_t job_half;
const char *job_more = "";

static const char *name = "job";
static pid_t main_pid;
static atomic_ulong failures;
static atomic_bool corrupt_main, corrupt_child;
static void *ballast;
static uint64_t ballast_gen;

uint64_t job_rand(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint64_t job_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

void job_fail(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	if (atomic_fetch_add(&failures, 1) >= MAX_SHOWN)
		return;
	fprintf(stderr, "%s[%d]: FAIL: ", name, (int)getpid());
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s%s\n", err ? ": " : "", err ? strerror(err) : "");
	errno = 0;
}

unsigned long job_failures(void)
{
	return atomic_load(&failures);
}

void *job_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "%s: mmap of %zu bytes: %s\n", name, bytes, strerror(errno));
		_exit(2);
	}
	return p;
}

void job_init(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *corrupt = getenv("JOB_CORRUPT");
	unsigned long mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;

	name = slash ? slash + 1 : argv[0];
	if (mib < 16 || mib > 1UL << 20) {
		fprintf(stderr, "usage: %s [MIB (16 or more)] [MORE]\n", name);
		_exit(2);
	}
	if (argc > 2)
		job_more = argv[2];
	job_bytes = mib * MIB;
	job_half = job_bytes / 2 & ~(2 * MIB - 1);
	main_pid = getpid();
	corrupt_main = corrupt && strcmp(corrupt, "main") == 0;
	corrupt_child = corrupt && strcmp(corrupt, "child") == 0;
	errno = 0;
}

int job_done(void)
{
	unsigned long n = job_failures();

	if (n) {
		fprintf(stderr, "%s: %lu failures\n", name, n);
		return 1;
	}
	printf("%s: ok\n", name);
	return fflush(stdout) == 0 ? 0 : 1;
}

void job_child_exit(void)
{
	_exit(job_failures() ? 1 : 0);
}

void job_reap(pid_t pid)
{
	int st = 0;
	pid_t got;

	do
		got = waitpid(pid, &st, 0);
	while (got < 0 && errno == EINTR);
	errno = 0;
	if (got != pid)
		job_fail("waitpid(%d) gave %d", (int)pid, (int)got);
	else if (WIFSIGNALED(st))
		job_fail("child %d died of signal %d", (int)pid, WTERMSIG(st));
	else if (WEXITSTATUS(st) != 0)
		job_fail("child %d ended with %d", (int)pid, WEXITSTATUS(st));
}

static uint64_t body_hash(const uint64_t *w)
{
	uint64_t h = w[0] * 0x9e3779b97f4a7c15ULL ^ w[1];

	for (size_t i = HEAD_WORDS; i < PAGE_WORDS; i++)
		h = (h ^ w[i]) * 0x100000001b3ULL + (h >> 47);
	return h;
}

void page_write(void *page, uint64_t no, uint64_t gen)
{
	uint64_t *w = page;
	uint64_t x = no * 0xd6e8feb86659fd93ULL + gen * 0xa0761d6478bd642fULL + 1;

	w[0] = no;
	w[1] = gen;
	for (size_t i = HEAD_WORDS; i < PAGE_WORDS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		w[i] = x;
	}
	w[2] = body_hash(w);
}

uint64_t page_gen(const void *page)
{
	return ((const uint64_t *)page)[1];
}

static bool all_zero(const uint64_t *w)
{
	uint64_t any = 0;

	for (size_t i = 0; i < PAGE_WORDS; i++)
		any |= w[i];
	return any == 0;
}

static const char *classify(const uint64_t *w, uint64_t no, uint64_t gen)
{
	if (all_zero(w))
		return "zero";
	if (w[2] != body_hash(w))
		return "torn";
	if (w[0] != no)
		return "swapped";
	return gen != JOB_ANY && w[1] != gen ? "stale" : NULL;
}

/* A bit of one page flips, once, when the test of the test asked for it. */
static bool spoil(void)
{
	return atomic_exchange(getpid() == main_pid ? &corrupt_main : &corrupt_child, false);
}

bool page_check(const void *page, uint64_t no, uint64_t gen)
{
	uint64_t copy[PAGE_WORDS];
	const uint64_t *w = page;
	const char *wrong, *again;

	if (corrupt_main || corrupt_child) {
		memcpy(copy, page, PG);
		if (spoil())
			copy[PAGE_WORDS / 2] ^= 1;
		w = copy;
	}
	wrong = classify(w, no, gen);
	if (!wrong)
		return true;
	usleep(20000); /* bytes that come right by themselves tell another story */
	again = classify(page, no, gen);
	errno = 0;
	job_fail("wrong page: %s: at %p expected page %lu generation %ld, found %lu generation %ld;"
		 " again: %s",
		 wrong, page, (unsigned long)no, (long)gen, (unsigned long)w[0], (long)w[1],
		 again ? again : "right");
	return false;
}

bool page_check_zero(const void *page)
{
	const uint64_t *w = page;

	if (all_zero(w) && !((corrupt_main || corrupt_child) && spoil()))
		return true;
	errno = 0;
	job_fail("wrong page: not zero: at %p found %lu generation %ld", page, (unsigned long)w[0],
		 (long)w[1]);
	return false;
}

void pages_write(void *base, uint64_t no, size_t nr, uint64_t gen)
{
	for (size_t i = 0; i < nr; i++)
		page_write((char *)base + i * PG, no + i, gen);
}

void pages_check(const void *base, uint64_t no, size_t nr, uint64_t gen)
{
	for (size_t i = 0; i < nr; i++)
		page_check((const char *)base + i * PG, no + i, gen);
}

void pages_check_zero(const void *base, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		page_check_zero((const char *)base + i * PG);
}

void job_pressure(void)
{
	size_t nr = job_half / PG;

	if (!ballast) {
		ballast = job_map(job_half);
		madvise(ballast, job_half, MADV_NOHUGEPAGE);
	} else {
		pages_check(ballast, 1UL << 40, nr, ballast_gen);
	}
	pages_write(ballast, 1UL << 40, nr, ++ballast_gen);
	pages_check(ballast, 1UL << 40, nr, ballast_gen);
}
