/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core changes in its arena can be taken back, up to the last
 * core_commit(): whoever drives it may die at any instruction, and what the next
 * one finds is what was true at that moment.
 *
 * No code of the core knows of it. The compiler calls one of the functions below
 * before each store (gcc's -fsanitize=kernel-address, with calls and without reads;
 * this file is compiled without), and the word that is about to be overwritten is
 * kept first. A store costs some 2 ns more for that. memmove() and memset() are
 * not seen: what they overwrite in the arena is named by undo_note().
 *
 * A store that is killed half way is none: a word is written or it is not, and
 * x86 shows stores to others in the order of the program.
 */
#include "client/core/internal.h"

struct undo_entry {
	uint64_t off, old;
};

/* At the end of the arena. */
struct undo_log {
	uint64_t nr;
	bool full;	  /* more was changed than can be taken back */
	uint32_t nr_fill; /* these frames' pages are being filled: */
	uint32_t fill[FILL_PAGES];
	struct undo_entry entry[];
};

#define KEPT_WORDS 512U
#define TURN_SHIFT 40 /* the arena is smaller */

/* One core is driven by a process. */
static struct {
	char *start;
	uint64_t bytes;
	struct undo_log *log;
	uint64_t all;  /* entries it has room for */
	uint64_t room; /* the same, or how many there may be before: */
	void (*crash)(void);
	uint64_t turn;		   /* commits */
	uint64_t kept[KEPT_WORDS]; /* words kept lately, and in which turn */
} live;

bool core_can_be_taken_over(void)
{
#ifdef RMEM_UNDO
	return true;
#else
	return false;
#endif
}

uint64_t undo_bytes(uint64_t arena_bytes)
{
	uint64_t bytes = arena_bytes / 16 & PAGE_MASK;

	return bytes < UNDO_BYTES_MAX ? bytes : UNDO_BYTES_MAX;
}

/* Counters and heads of lists are written again and again between two commits. */
static bool is_kept(uint64_t off)
{
	uint64_t *kept = &live.kept[off / 8 % KEPT_WORDS];

	if (*kept == (off ^ live.turn << TURN_SHIFT))
		return true;
	*kept = off ^ live.turn << TURN_SHIFT;
	return false;
}

static void next_turn(void)
{
	if (++live.turn >> (64 - TURN_SHIFT)) {
		live.turn = 1;
		memset(live.kept, 0, sizeof(live.kept));
	}
}

static void keep_word(uint64_t off)
{
	struct undo_log *log = live.log;
	uint64_t nr = log->nr;

	if (is_kept(off))
		return;
	if (nr >= live.room) {
		if (live.crash && !log->full)
			live.crash();
		log->full = true;
		return;
	}
	log->entry[nr].off = off;
	memcpy(&log->entry[nr].old, live.start + off, sizeof(uint64_t));
	__atomic_store_n(&log->nr, nr + 1, __ATOMIC_RELEASE);
}

static inline void note(const void *p, uint64_t bytes)
{
	uint64_t off = (uint64_t)((const char *)p - live.start);

	if (off >= live.bytes) /* on the stack, or not begun */
		return;
	for (uint64_t at = off & ~7UL; at < off + bytes; at += 8)
		keep_word(at);
}

void undo_note(const void *p, uint64_t bytes)
{
	note(p, bytes);
}

void undo_start(char *arena, uint64_t from, uint64_t arena_bytes)
{
	uint64_t bytes = undo_bytes(arena_bytes);

	next_turn();
	live.start = arena + from;
	live.bytes = arena_bytes - bytes - from;
	live.log = (struct undo_log *)(arena + arena_bytes - bytes);
	live.all = (bytes - sizeof(struct undo_log)) / sizeof(struct undo_entry);
	if (!live.crash)
		live.room = live.all;
}

void undo_stop(void)
{
	live.bytes = 0;
}

int undo_all(void)
{
	struct undo_log *log = live.log;

	if (log->full)
		return -EOVERFLOW;
	for (uint64_t i = log->nr; i--;)
		memcpy(live.start + log->entry[i].off, &log->entry[i].old, sizeof(uint64_t));
	__atomic_store_n(&log->nr, 0, __ATOMIC_RELEASE);
	return 0;
}

void core_commit(struct core *c)
{
	struct undo_log *log = live.log;

	(void)c;
	if (live.crash && !log->full && log->nr + 1 >= live.room)
		live.crash();
	next_turn();
	/* First: until it is so, what is filled is of the state before. */
	__atomic_store_n(&log->nr, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&log->nr_fill, 0, __ATOMIC_RELEASE);
	log->full = false;
}

void undo_filling(struct core *c, const uint32_t *frame, uint32_t nr)
{
	core_commit(c);
	memcpy(live.log->fill, frame, nr * sizeof(*frame));
	__atomic_store_n(&live.log->nr_fill, nr, __ATOMIC_RELEASE);
}

void undo_never(void)
{
	live.log->full = true;
}

uint32_t undo_filled(uint32_t *frame)
{
	memcpy(frame, live.log->fill, live.log->nr_fill * sizeof(*frame));
	return live.log->nr_fill;
}

void core_crash_after(uint64_t stores, void (*crash)(void))
{
	live.crash = crash;
	live.room = crash ? stores : live.all;
}

#ifdef RMEM_UNDO /* beside sanitizers these are others' */

/* ---- what the compiler calls ---- */

void __asan_store1_noabort(const void *p);
void __asan_store2_noabort(const void *p);
void __asan_store4_noabort(const void *p);
void __asan_store8_noabort(const void *p);
void __asan_store16_noabort(const void *p);
void __asan_storeN_noabort(const void *p, size_t bytes);
void __asan_handle_no_return(void);

void __asan_store1_noabort(const void *p)
{
	note(p, 1);
}

void __asan_store2_noabort(const void *p)
{
	note(p, 2);
}

void __asan_store4_noabort(const void *p)
{
	note(p, 4);
}

void __asan_store8_noabort(const void *p)
{
	note(p, 8);
}

void __asan_store16_noabort(const void *p)
{
	note(p, 16);
}

void __asan_storeN_noabort(const void *p, size_t bytes)
{
	note(p, bytes);
}

void __asan_handle_no_return(void)
{
}

#endif
