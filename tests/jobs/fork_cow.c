/* SPDX-License-Identifier: Apache-2.0 */
/* fork while pages are remote: parent, children and grandchildren each write
 * their own generation and see nobody else's. JOB_CORRUPT: child */
#include "job.h"

#include <unistd.h>

static char *m;
static size_t nr;

/* Every third page, from @from, becomes generation @gen. */
static void mark(size_t from, uint64_t gen)
{
	for (size_t i = from; i < nr; i += 3)
		page_write(m + i * PG, i, gen);
}

static void look(uint64_t g0, uint64_t g1, uint64_t g2)
{
	uint64_t want[3] = {g0, g1, g2};

	for (size_t i = 0; i < nr; i++)
		page_check(m + i * PG, i, want[i % 3]);
}

static void grandchild(void)
{
	look(1, 2, 1);
	mark(2, 3);
	look(1, 2, 3);
	job_child_exit();
}

static void child(void)
{
	look(1, 1, 1);
	mark(1, 2);
	pid_t pid = fork();

	if (pid == 0)
		grandchild();
	mark(0, 4);
	look(4, 2, 1);
	job_reap(pid);
	look(4, 2, 1);
	job_child_exit();
}

int main(int argc, char **argv)
{
	job_init(argc, argv);
	nr = job_half / 2 / PG;
	m = job_map(nr * PG);
	pages_write(m, 0, nr, 1);
	job_pressure();

	pid_t a = fork();

	if (a == 0)
		child();
	pid_t b = fork();

	if (b == 0)
		child();
	mark(0, 9);
	job_reap(a);
	job_reap(b);
	look(9, 1, 1);
	job_pressure();
	look(9, 1, 1);
	return job_done();
}
