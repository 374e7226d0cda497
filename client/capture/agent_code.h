/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's code as bytes to be copied: [agent_code_start, agent_code_end),
 * entered at agent_boot. It makes by itself what the agent needs, says so by
 * a byte on its socket, and becomes the agent when it gets one back.
 */
#ifndef RMEM_CAPTURE_AGENT_CODE_H
#define RMEM_CAPTURE_AGENT_CODE_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "client/capture/agent.h"

/* The linker's names for the bounds of the section agent_text. */
extern const char agent_code_start[] __asm__("__start_agent_text");
extern const char agent_code_end[] __asm__("__stop_agent_text");

/* Descriptors passed over the socket, in this order. */
enum agent_passed {
	PASS_DEVICE, /* /dev/userfaultfd */
	PASS_RING,
	PASS_TARGET, /* pidfd of the process */
	PASS_WAKE,
	PASS_DONE,
	PASS_UFFD_JOB, /* only for a process that has one already */
	NR_PASSED,
};

enum boot_step {
	BOOT_MUNLOCK,
	BOOT_DONTFORK,
	BOOT_DONTDUMP,
	BOOT_NAME,
	BOOT_CHDIR,
	BOOT_RECVMSG,
	BOOT_UFFD_JOB,
	BOOT_RING,
	BOOT_DONE,
};

struct agent_boot {
	/* given; addresses are the process's */
	uint64_t own_start, own_bytes;
	uint64_t ring, bounce, scratch[AGENT_HALVES];
	int32_t sock, peer;
	uint32_t nr_passed;
	char name[16];
	char root[2];
	struct msghdr msg;
	struct iovec iov;
	char byte;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(NR_PASSED * sizeof(int))];
	/* answered */
	uint32_t step; /* enum boot_step: done, or where @err came from */
	int32_t err;
	int32_t fd[NR_PASSED];
};

_Noreturn void agent_boot(struct agent_boot *b);

#endif
