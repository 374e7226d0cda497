/* SPDX-License-Identifier: Apache-2.0 */
/* A timer signal every 200 us during faults; the handler itself reads and
 * writes remote pages; no system call of the job sees more than SA_RESTART
 * lets it see. */
#include "job.h"

#include <signal.h>
#include <sys/time.h>

#define HPAGES 2048

static char *hmem;
static volatile sig_atomic_t ticks;
static uint64_t hrng;
static uint64_t hgen[HPAGES];

static void on_alarm(int sig)
{
	size_t i = job_rand(&hrng) % HPAGES;

	(void)sig;
	page_check(hmem + i * PG, i, hgen[i]);
	page_write(hmem + i * PG, i, ++hgen[i]);
	ticks++;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval it = {{0, 200}, {0, 200}}, off = {0};

	job_init(argc, argv);

	size_t nr = job_half / PG - HPAGES;
	char *m = job_map(nr * PG);

	hmem = job_map(HPAGES * PG);
	pages_write(hmem, 0, HPAGES, 0);
	pages_write(m, 0, nr, 1);
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	for (uint64_t round = 1; round < 4; round++) {
		job_pressure();
		pages_check(m, 0, nr, round);
		pages_write(m, 0, nr, round + 1);
	}
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	CHECK(ticks > 10);
	for (size_t i = 0; i < HPAGES; i++)
		page_check(hmem + i * PG, i, hgen[i]);
	pages_check(m, 0, nr, 4);
	return job_done();
}
