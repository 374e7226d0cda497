/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of remote pages: memory policies stay with the mapping,
 * move_pages knows no place of them, the accounts in /proc do not count them; and
 * being asked changes nothing. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ASKED 512UL

static char *m;
static size_t nr;

static bool has_numa(void)
{
	int mode;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0UL, NULL, 0UL) == 0;
}

static void policy_is(int expected)
{
	for (size_t i = 0; i < nr; i += nr / 8) {
		int mode = -1;

		CHECK(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, m + i * PG,
			      (unsigned long)MPOL_F_ADDR) == 0);
		CHECK(mode == expected);
	}
}

/* Pages that are somewhere, by move_pages, which only asks when told no nodes. */
static size_t placed(void)
{
	static void *page[ASKED];
	static int status[ASKED];
	size_t n = 0;

	for (size_t i = 0; i < ASKED; i++)
		page[i] = m + i * PG;
	CHECK(syscall(SYS_move_pages, 0, ASKED, page, NULL, status, 0) == 0);
	for (size_t i = 0; i < ASKED; i++) {
		/* Linux 6.1 says EFAULT where a page table has nothing. */
		CHECK(status[i] >= 0 || status[i] == -ENOENT || status[i] == -EFAULT);
		n += status[i] >= 0;
	}
	return n;
}

/* Pages that are present, by the kernel's table of them. */
static size_t present(void)
{
	uint64_t entry[ASKED];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	CHECK(pread(fd, entry, sizeof(entry), (off_t)((uintptr_t)m / PG * sizeof(*entry))) ==
	      sizeof(entry));
	for (size_t i = 0; i < ASKED; i++)
		n += entry[i] >> 63;
	close(fd);
	return n;
}

/* present(), once what came ahead of its use has come. */
static size_t present_at_rest(void)
{
	size_t n = present();

	for (int looks = 0; looks < 100; looks++) {
		size_t was = n;

		usleep(20000);
		n = present();
		if (n == was)
			break;
	}
	return n;
}

/* Asking brings nothing in. */
static void accounts_agree(bool numa)
{
	size_t before = present_at_rest();

	CHECK(present() <= before);
	if (numa)
		CHECK(placed() <= before);
}

int main(int argc, char **argv)
{
	const unsigned long node_0 = 1;

	job_init(argc, argv);
	nr = job_half / PG;
	m = job_map(nr * PG);

	bool numa = has_numa();

	if (numa)
		CHECK(syscall(SYS_mbind, m, nr * PG, (unsigned long)MPOL_BIND, &node_0,
			      8 * sizeof(node_0), 0UL) == 0);
	pages_write(m, 0, nr, 1);
	for (unsigned int round = 1; round <= 2; round++) {
		job_pressure();
		accounts_agree(numa);
		if (numa)
			policy_is(MPOL_BIND);
		/* Its own name space, file table and file names, but not its memory. */
		CHECK(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM) == 0);
		pages_check(m, 0, nr, round);
		pages_write(m, 0, nr, round + 1);
	}
	pages_check(m, 0, ASKED, 3);
	if (numa)
		CHECK(placed() > 0);
	return job_done();
}
