/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory (anonymous, memfd, System V) between processes beside private
 * memory that leaves: shared pages stay right and stay shared.
 * JOB_CORRUPT: child */
#include "job.h"

#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define SHARED (4 * MIB)
#define KINDS  3

static char *area[KINDS];

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG, few = SHARED / PG;
	int fd = memfd_create("job", MFD_CLOEXEC);
	int id = shmget(IPC_PRIVATE, SHARED, 0600);

	CHECK(fd >= 0 && ftruncate(fd, SHARED) == 0 && id >= 0);
	area[0] = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	area[1] = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	area[2] = shmat(id, NULL, 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);

	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	for (uint64_t round = 1; round < 4; round++) {
		for (int k = 0; k < KINDS; k++)
			pages_write(area[k], (uint64_t)k, few, round);
		job_pressure();

		pid_t pid = fork();

		if (pid == 0) {
			for (int k = 0; k < KINDS; k++) {
				pages_check(area[k], (uint64_t)k, few, round);
				pages_write(area[k], (uint64_t)k, few, round + 50);
			}
			pages_check(m, 0, nr / 8, 1);
			job_child_exit();
		}
		job_reap(pid);
		for (int k = 0; k < KINDS; k++)
			pages_check(area[k], (uint64_t)k, few, round + 50);
		pages_check(m, 0, nr, 1);
	}
	return job_done();
}
