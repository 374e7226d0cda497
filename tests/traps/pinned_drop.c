/* SPDX-License-Identifier: Apache-2.0 */
/* Section 4: a pinned page that is dropped is another page afterwards: device
 * and job diverge. UFFDIO_MOVE refuses it with EBUSY; MADV_DONTNEED does not. */
#include "trap.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	int uffd = trap_uffd(0), fd[2];
	char *m = trap_map(1), *scratch = trap_map(1), got = 0;
	struct iovec v = {m, PG};
	struct io_uring ring;
	struct io_uring_cqe *cqe;

	if (io_uring_queue_init(4, &ring, 0) != 0)
		trap_skip("no io_uring");
	memset(m, 1, PG);
	if (io_uring_register_buffers(&ring, &v, 1) != 0)
		trap_skip("no locked memory for a registered buffer");
	trap_register(uffd, scratch, 1);
	trap_expect(trap_move(uffd, scratch, m, 1, 0, NULL) == -EBUSY, "MOVE refuses it: EBUSY");
	trap_expect(madvise(m, PG, MADV_DONTNEED) == 0, "MADV_DONTNEED does not");
	memset(m, 2, PG);
	if (pipe(fd) != 0)
		return 2;
	io_uring_prep_write_fixed(io_uring_get_sqe(&ring), fd[1], m, 1, 0, 0);
	io_uring_submit(&ring);
	io_uring_wait_cqe(&ring, &cqe);
	trap_expect(read(fd[0], &got, 1) == 1 && got == 1,
		    "the device still writes the old byte, the job has the new one");
	return trap_done();
}
