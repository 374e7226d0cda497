/* SPDX-License-Identifier: Apache-2.0 */
/* A new task in the job's memory becomes the agent. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "client/capture/agent_code.h"
#include "client/capture/agent_parts.h"
#include "common/compat.h"

/* Memory that is nobody else's, a name, and a directory that holds no file
 * system of the job's busy. */
static AGENT_CODE long boot_settle(struct agent_boot *b)
{
	long ret;

	/* A job under mlockall() has locked this too, and MOVE refuses locked memory. */
	b->step = BOOT_MUNLOCK;
	ret = sys(__NR_munlock, b->own_start, b->own_bytes, 0, 0);
	if (ret)
		return ret;
	b->step = BOOT_DONTFORK;
	ret = sys(__NR_madvise, b->own_start, b->own_bytes, MADV_DONTFORK, 0);
	if (ret)
		return ret;
	b->step = BOOT_DONTDUMP;
	ret = sys(__NR_madvise, b->own_start, b->own_bytes, MADV_DONTDUMP, 0);
	if (ret)
		return ret;
	/* Whole huge pages still move; single ones don't zero 2 MiB first. A
	 * kernel without huge pages has nothing to turn off. */
	for (unsigned int h = 0; h < AGENT_HALVES; h++)
		sys(__NR_madvise, b->scratch[h], CHUNK_BYTES, MADV_NOHUGEPAGE, 0);
	b->step = BOOT_NAME;
	/* For the whole space: a fault in a huge page's place would zero 2 MiB
	 * first and then ask the pager for 4 KiB. */
	sys(__NR_prctl, PR_SET_THP_DISABLE, 1, 0, 0);
	ret = sys(__NR_prctl, PR_SET_NAME, b->name, 0, 0);
	if (ret)
		return ret;
	b->step = BOOT_CHDIR;
	return sys(__NR_chdir, b->root, 0, 0, 0);
}

static AGENT_CODE long boot_receive(struct agent_boot *b)
{
	struct cmsghdr *c = (struct cmsghdr *)b->control;
	const int *fd = (const int *)(c + 1);
	long ret;

	b->step = BOOT_RECVMSG;
	ret = sys(__NR_recvmsg, b->sock, &b->msg, MSG_CMSG_CLOEXEC, 0);
	if (ret != 1)
		return ret < 0 ? ret : -EPIPE;
	if (b->msg.msg_controllen < sizeof(*c) ||
	    c->cmsg_len != sizeof(*c) + b->nr_passed * sizeof(int))
		return -EMFILE;
	for (unsigned int i = 0; i < b->nr_passed; i++)
		b->fd[i] = fd[i];
	return 0;
}

static AGENT_CODE long boot_userfaultfd(struct agent_boot *b)
{
	long ret;

	b->step = BOOT_UFFD_JOB;
	if (b->nr_passed > PASS_UFFD_JOB)
		return 0;
	ret = sys(__NR_ioctl, b->fd[PASS_DEVICE], USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK, 0);
	b->fd[PASS_UFFD_JOB] = (int32_t)ret;
	return ret < 0 ? ret : 0;
}

static AGENT_CODE long boot_share(const struct agent_boot *b, uint64_t va, uint64_t bytes,
				  uint64_t off)
{
	long ret = sys6(__NR_mmap, (long)va, (long)bytes, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, b->fd[PASS_RING], (long)off);

	if (ret < 0)
		return ret;
	ret = sys(__NR_madvise, va, bytes, MADV_DONTFORK, 0);
	if (!ret)
		ret = sys(__NR_madvise, va, bytes, MADV_DONTDUMP, 0);
	return ret;
}

static AGENT_CODE long boot_ring(struct agent_boot *b)
{
	long ret;

	b->step = BOOT_RING;
	ret = boot_share(b, b->ring, PAGE_BYTES, 0);
	if (!ret)
		ret = boot_share(b, b->bounce, AGENT_BOUNCE_BYTES, PAGE_BYTES);
	return ret;
}

AGENT_TEXT _Noreturn void agent_boot(struct agent_boot *b)
{
	char byte = 0;
	long ret;

	sys(__NR_close, b->peer, 0, 0, 0);
	ret = boot_settle(b);
	if (!ret)
		ret = boot_receive(b);
	if (!ret)
		ret = boot_userfaultfd(b);
	if (!ret)
		ret = boot_ring(b);
	if (!ret)
		b->step = BOOT_DONE;
	b->err = (int32_t)ret;
	sys6(__NR_sendto, b->sock, (long)&byte, 1, MSG_NOSIGNAL, 0, 0);
	/* Nothing comes when the pager has given up, or is gone. */
	while (sys(__NR_read, b->sock, &byte, 1, 0) != 1)
		sys(__NR_exit_group, 0, 0, 0, 0);
	sys(__NR_close, b->sock, 0, 0, 0);
	sys(__NR_close, b->fd[PASS_DEVICE], 0, 0, 0);
	sys(__NR_close, b->fd[PASS_RING], 0, 0, 0);
	agent_loop((struct agent_ring *)b->ring);
}
