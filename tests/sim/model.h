/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of the part of Linux that a userfaultfd pager depends on: address
 * spaces, pages, the calls that change them, userfaultfd messages and ioctls.
 * Each call is split into the steps between which anything else may happen.
 * tests/model runs the same calls on the real kernel and compares.
 *
 * A page's content is one 64-bit value. Beside what the page table holds, each
 * page keeps `want`: what a read must give. The two differ only when the pager
 * is wrong, and every fill and every access checks it.
 *
 *	call:   prep+effect ---> event queued ---> read ---> resumed (---> zap)
 *	ioctls: | EAGAIN ................................... |
 */
#ifndef RMEM_TESTS_SIM_MODEL_H
#define RMEM_TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core/types.h"

#define MODEL_SPACES	 20
#define MODEL_TASKS	 96
#define MODEL_QUEUE	 16 /* tasks of one space */
#define MODEL_EVENTS	 4  /* of one call */
#define MODEL_HALVES	 2
#define MODEL_PAGES_MAX	 1024
#define MODEL_PHYS_MAX	 (1U << 16)
#define MODEL_SPLIT_LAZY (1U << 31)

enum { PROT_R = 1, PROT_W = 2 };

enum mpage_flag {
	PF_REG = 1,	 /* registered with the space's userfaultfd */
	PF_WIPE = 2,	 /* MADV_WIPEONFORK */
	PF_DONTFORK = 4, /* MADV_DONTFORK */
	PF_LOCKED = 8,
	PF_SHARED = 16,	 /* not exclusive since a fork */
	PF_LAZY = 32,	 /* MADV_FREE: the kernel may drop the page */
	PF_MAYZERO = 64, /* a read may give zero as well */
	PF_POISON = 128,
};

#define PF_VMA (PF_REG | PF_WIPE | PF_DONTFORK | PF_LOCKED) /* of the mapping, not the page */

struct mpage {
	uint64_t want;
	uint32_t phys; /* 0 hole, 1 the zero page */
	uint32_t fill_stamp;
	uint16_t vma; /* 0 not mapped; pages of one mapping share it */
	uint8_t flags;
	uint8_t prot;
	bool guarded; /* write-protected by userfaultfd: the page, not the mapping */
};

struct mphys {
	uint64_t value;
	uint32_t refs; /* next free one while free */
	uint32_t pins;
};

enum mop_type {
	MOP_NONE,
	MOP_READ,
	MOP_WRITE,
	MOP_MMAP, /* MAP_FIXED, read and write */
	MOP_MUNMAP,
	MOP_MREMAP, /* i,n to j,m; flags MREMAP_* below */
	MOP_DONTNEED,
	MOP_FREE,
	MOP_MPROTECT,
	MOP_FLAG,     /* set flags, clear prot (both PF_*) */
	MOP_MLOCK,    /* sets PF_LOCKED and touches */
	MOP_POPULATE, /* MADV_POPULATE_WRITE */
	MOP_FORK,
};

enum { MREMAP_F_FIXED = 1, MREMAP_F_DONTUNMAP = 2 };

enum mmsg_type { MMSG_FAULT, MMSG_REMOVE, MMSG_UNMAP, MMSG_REMAP, MMSG_FORK };

struct mevent {
	uint8_t type;
	uint8_t child;	  /* space of a fork */
	bool guarded;	  /* a fault: a write to a page that is */
	uint16_t i, n, j; /* pages; j where a remap goes */
};

struct mmsg {
	struct mevent ev;
	uint32_t tid;
};

struct mop {
	uint8_t type, pc, flags, prot;
	uint8_t nr_ev, ev_idx;
	uint8_t child;
	bool zap_owed; /* its REMOVE was read, the zap is to come */
	uint16_t i, n, j, m;
	uint16_t cur, end; /* part being worked on */
	uint32_t since_stamp;
	int32_t res;
	uint64_t value;
	struct mevent ev[MODEL_EVENTS];
};

enum mwait { MWAIT_NONE, MWAIT_FAULT, MWAIT_FAULT_READ, MWAIT_EVENT };

struct mtask {
	uint8_t used, wait, space;
	uint16_t page; /* that it waits for, */
	bool guarded;  /* to write to it, and it is there */
	uint32_t tid;
	uint32_t op_seq;
	struct mop op;
};

struct mspace {
	bool used, alive, armed; /* armed: has a userfaultfd */
	bool announced;		 /* its FORK message was read */
	uint8_t nr_events, nr_faults;
	uint16_t next_vma;
	uint32_t changing;
	uint32_t unqueued; /* messages owed for effects that were, not queued yet */
	uint32_t nr_waiting;
	struct mpage *page;
	uint8_t event[MODEL_QUEUE]; /* tasks, oldest first */
	uint8_t fault[MODEL_QUEUE];
	uint32_t scratch[MODEL_HALVES][CHUNK_PAGES];
};

struct model {
	unsigned int win, nr_wins, nr_pages; /* win pages around each chunk border */
	uint64_t base;
	uint32_t stamp;
	uint32_t phys_free, phys_top, phys_used;
	bool unordered;	     /* effects may overtake messages, as on the real kernel */
	uint32_t removing;   /* tasks in MADV_DONTNEED or MADV_FREE */
	bool no_zero_page;   /* a read of a hole makes a page, as on some kernels */
	uint32_t lazy_state; /* random bits for what the kernel does in its own time */
	void (*fail)(void *ctx, const char *what, unsigned int space, unsigned int page,
		     uint64_t value) __attribute__((noreturn));
	void *fail_ctx;
	struct mspace space[MODEL_SPACES];
	struct mtask task[MODEL_TASKS];
	struct mphys phys[MODEL_PHYS_MAX];
	struct mpage *pages;
};

enum mstep { MSTEP_MORE, MSTEP_BLOCKED, MSTEP_DONE };
enum mmove { MMOVE_OK, MMOVE_HOLE, MMOVE_BUSY, MMOVE_INVALID, MMOVE_EAGAIN };

/* ---- model_page.c ---- */
int model_init(struct model *m, unsigned int win, unsigned int nr_wins, uint64_t base);
void model_fini(struct model *m);

/* Index of a space, -1 when there is none left. */
int model_space_new(struct model *m);

/* Every task of it ends, now; its pages are free. Stays known until _free(). */
void model_space_kill(struct model *m, unsigned int s);
void model_space_free(struct model *m, unsigned int s);

int model_task_new(struct model *m, unsigned int s, uint32_t tid);
void model_task_free(struct model *m, unsigned int t);

uint64_t model_va(const struct model *m, unsigned int i);

/* First page at or after @va; *exact tells whether it is the page at @va. */
unsigned int model_page(const struct model *m, uint64_t va, bool *exact);

/* 0 done, 1 @t has to wait, -EFAULT. */
int model_touch(struct model *m, unsigned int t, unsigned int i, bool write);
void model_page_drop(struct model *m, struct mpage *p);
void model_phys_put(struct model *m, uint32_t phys);
uint32_t model_phys_new(struct model *m, uint64_t value);

/* First page after @i that is not of its mapping. */
unsigned int model_vma_end(const struct model *m, unsigned int s, unsigned int i);
bool model_is_mapped(const struct model *m, unsigned int s, unsigned int i, unsigned int n);
void model_lazy_drop(struct model *m, unsigned int s, unsigned int i);

/* ---- model_uffd.c ---- */
void model_queue_fault(struct model *m, unsigned int t, unsigned int i, bool guarded);
void model_queue_event(struct model *m, unsigned int t, const struct mevent *ev);
void model_unqueue(struct model *m, unsigned int t);
bool model_read(struct model *m, unsigned int s, struct mmsg *out);
void model_register(struct model *m, unsigned int s, unsigned int i, unsigned int n);
int model_fill(struct model *m, unsigned int s, unsigned int i, uint64_t value);
/* The page, which is there, may be written to by a message only; and by none. */
void model_guard(struct model *m, unsigned int s, unsigned int i);
int model_allow(struct model *m, unsigned int s, unsigned int i, unsigned int n);
int model_poison(struct model *m, unsigned int s, unsigned int i);
void model_wake(struct model *m, unsigned int s, unsigned int i, unsigned int n);
enum mmove model_move(struct model *m, unsigned int s, unsigned int i, unsigned int half,
		      unsigned int slot);
uint64_t model_scratch_value(struct model *m, unsigned int s, unsigned int half, unsigned int slot);
void model_scratch_drop(struct model *m, unsigned int s, unsigned int half);

/* ---- model_ops.c ---- */
void model_start(struct model *m, unsigned int t, const struct mop *op);
enum mstep model_step(struct model *m, unsigned int t);

/* ---- model_map.c: effects of calls that change mappings ---- */
void model_unmap_pages(struct model *m, unsigned int s, unsigned int i, unsigned int n);
void model_add_event(struct mop *op, const struct mevent *ev);
bool model_any_armed(const struct model *m, unsigned int s, unsigned int i, unsigned int n);
void model_do_mmap(struct model *m, unsigned int s, struct mop *op);
void model_do_munmap(struct model *m, unsigned int s, struct mop *op);
void model_do_mremap(struct model *m, unsigned int s, struct mop *op);
void model_do_flags(struct model *m, unsigned int s, struct mop *op);
void model_do_fork(struct model *m, unsigned int s, struct mop *op);

#endif
