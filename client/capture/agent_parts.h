/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent's code is made of. It is copied, as bytes, into another process and runs
 * there on a task of its own: position independent, no C library, no global data, nothing
 * outside its section (capture.agent_code looks at the relocations). It knows its ring and
 * nothing else. See agent.h for the protocol.
 *
 * Everything is in the section agent_text. No switch statements: a jump table would lie
 * outside.
 */
#ifndef RMEM_CAPTURE_AGENT_PARTS_H
#define RMEM_CAPTURE_AGENT_PARTS_H

#include <asm/unistd.h>
#include <linux/errno.h>
#include <stdbool.h>

#include "client/capture/agent.h"

#define AGENT_TEXT   __attribute__((section("agent_text"), noinline))
#define AGENT_CODE   __attribute__((section("agent_text"), noinline, flatten))
#define AGENT_SHARED __attribute__((visibility("hidden"))) /* of several files: reached directly */

/* The agent's own knowledge, on its stack, where the pager can't reach it. */
struct agent_self {
	struct agent_ring *ring;
	long pid;
	uint32_t dirty;		     /* halves of scratch that hold pages */
	uint32_t bare;		     /* that are not registered, or not known to be empty since */
	uint32_t used;		     /* that may have page tables below the chunk */
	pageset spare[AGENT_HALVES]; /* pages of scratch that hold nothing */
	uint32_t nr_spare[AGENT_HALVES];
	uint32_t last_half; /* that pages were moved to */
};

static inline __attribute__((always_inline)) long sys6(long nr, long a, long b, long c, long d,
						       long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys(nr, a, b, c, d) sys6((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* ---- agent.c: at work; agent_boot.c comes before it and is declared in agent_code.h ---- */

AGENT_SHARED _Noreturn void agent_loop(struct agent_ring *ring);

/* ---- agent_move.c: pages leave by MOVE ---- */

/* AGENT_MOVE: job to scratch, and to the bounce buffer; the answer is in @cmd. */
AGENT_SHARED void agent_move(struct agent_self *self, struct agent_cmd *cmd);

/* Pages moved, or -errno when not one was. */
AGENT_SHARED long agent_uffd_move(int uffd, uint64_t dst, uint64_t src, unsigned int nr,
				  uint64_t mode);

/* Is a page mapped at @va? Touches nothing. */
AGENT_SHARED bool agent_has_page(uint64_t va);

/* AGENT_DROP: empties the half. 0 or -errno. */
AGENT_SHARED long agent_drop(struct agent_self *self, unsigned int half);

/* ---- agent_place.c: and come back ---- */

/* AGENT_PLACE: from the bounce buffer to the chunk, as far as there are pages to spare. */
AGENT_SHARED void agent_place(struct agent_self *self, struct agent_cmd *cmd);

/* ---- agent_take.c: and where there is no MOVE ---- */

/* AGENT_TAKE: copied to scratch and dropped; the answer is in @cmd. */
AGENT_SHARED void agent_take(struct agent_self *self, struct agent_cmd *cmd);

/* ---- of both ---- */

/* Where the command's half is: the pager, and nobody else, says which. */
static inline __attribute__((always_inline)) uint64_t half_va(const struct agent_ring *ring,
							      const struct agent_cmd *cmd)
{
	return ring->scratch[cmd->half];
}

/* Not by an initializer: that may be a call of memset(). */
static inline __attribute__((always_inline)) void forget_spare(struct agent_self *self,
							       unsigned int half)
{
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		self->spare[half].w[i] = 0;
	self->nr_spare[half] = 0;
}

static inline __attribute__((always_inline)) void copy_bytes(uint64_t to, uint64_t from,
							     uint64_t bytes)
{
	uint64_t words = bytes / sizeof(uint64_t);

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

static inline __attribute__((always_inline)) void set_run(pageset *s, unsigned int idx,
							  unsigned int nr)
{
	for (; nr; nr--)
		pageset_add(s, idx++);
}

#endif
