/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The fast fault path. A thread of the job touches a page that is not there:
 * before the kernel looks for the page, it posts the fault in its CPU's box and
 * waits for the pager to map it. When that is in time, the kernel finds the page
 * and returns; nobody slept, nothing was woken, no message was read.
 *
 * It runs at the page-fault tracepoints, with interrupts off. It only reads the
 * kernel's memory. A page whose page table entry is anything but empty is left
 * to the kernel: it is there, or swapped out, or a guard (MADV_GUARD_INSTALL),
 * and filling that one would take the guard away.
 */
#include "bpf/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>

#include "bpf/fast.h"
#include "bpf/walk.h"

char LICENSE[] SEC("license") = "GPL"; /* the kernel wants to know */

struct fast_shared shared;

#define ERROR_WRITE 2UL /* arch/x86/include/asm/trap_pf.h */
#define ERROR_USER  4UL
#define FLAGS_IF    0x200UL

/* The page table entry of @va, 0 also where there is no table for it yet;
 * NO_ENTRY: can't be told, or part of a larger page. */
static __always_inline __u64 pte_of(const struct mm_struct *mm, __u64 va)
{
	struct walk w = {.map = shared.direct_map, .levels = shared.levels};
	__u64 e = pmd_of(&w, mm, va);

	if (!e)
		return 0;
	if (!(e & ENTRY_PRESENT) || e & ENTRY_HUGE)
		return NO_ENTRY;
	return entry_at(w.map + (e & ENTRY_ADDR), va, 12);
}

struct wait {
	struct fast_box *box;
	__u64 seq, until_ns, now_ns;
	int hit;
};

/* Reading the clock costs more than looking, so it is read now and then. */
static long look(__u32 i, struct wait *w)
{
	if (*(volatile __u64 *)&w->box->done >= w->seq) {
		w->hit = 1;
		return 1;
	}
	if ((i & 15) != 15)
		return 0;
	w->now_ns = bpf_ktime_get_ns();
	return w->now_ns >= w->until_ns;
}

static __always_inline void post_and_wait(__u64 va, __u64 ip, __u32 space, __u64 now_ns)
{
	__u32 cpu = bpf_get_smp_processor_id(), wait_ns = shared.wait_ns;
	struct fast_box *box = &shared.box[cpu & (FAST_BOXES - 1)];
	struct wait w = {.box = box, .now_ns = now_ns};

	if (cpu >= FAST_BOXES)
		return;
	if (wait_ns > FAST_MAX_WAIT_NS)
		wait_ns = FAST_MAX_WAIT_NS;
	box->va = va;
	box->ip = ip;
	box->space = space;
	box->tid = (__u32)bpf_get_current_pid_tgid();
	box->posted_ns = now_ns;
	w.seq = box->seq + 1;
	w.until_ns = now_ns + wait_ns;
	barrier(); /* stores are seen in this order on x86 */
	*(volatile __u64 *)&box->seq = w.seq;
	bpf_loop(1U << 14, look, &w, 0);
	box->waits++;
	box->hits += w.hit;
	box->wait_ns += bpf_ktime_get_ns() - now_ns;
}

static __always_inline bool is_ours(const __u64 *place, __u64 key)
{
	return place[0] == key || place[1] == key || place[2] == key || place[3] == key;
}
_Static_assert(FAST_WAYS == 4, "as many are looked at");

static __always_inline int faulted(__u64 va, const struct pt_regs *regs, __u64 error, bool user)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	const struct fast_tgid *who = &shared.tgid[tgid & (FAST_TGIDS - 1)];
	const struct task_struct *task;
	__u64 key, now_ns;

	if (who->tgid != tgid || !shared.wait_ns || error & ~(ERROR_WRITE | ERROR_USER))
		return 0;
	key = fast_chunk_key(who->space, va);
	if (!is_ours(&shared.chunk[fast_chunk_slot(key)], key))
		return 0;
	/* Who waits on the pager's CPU waits for nobody. */
	if (bpf_get_smp_processor_id() == shared.cpu)
		return 0;
	now_ns = bpf_ktime_get_ns();
	if (now_ns - shared.beat_ns > FAST_STALE_NS && now_ns > shared.beat_ns)
		return 0;
	task = bpf_get_current_task_btf();
	/* Where a fault may not sleep the kernel does without the page. */
	if (!user && (task->pagefault_disabled || !(regs->flags & FLAGS_IF)))
		return 0;
	if (!task->mm || pte_of(task->mm, va))
		return 0;
	post_and_wait(va, regs->ip, who->space | (error & ERROR_WRITE ? FAST_WRITE : 0), now_ns);
	return 0;
}

SEC("tp_btf/page_fault_user")
int BPF_PROG(fault_user, unsigned long va, struct pt_regs *regs, unsigned long error)
{
	return faulted(va, regs, error, true);
}

SEC("tp_btf/page_fault_kernel")
int BPF_PROG(fault_kernel, unsigned long va, struct pt_regs *regs, unsigned long error)
{
	return faulted(va, regs, error, false);
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* a page: the pager takes each as it wakes */
} alarm SEC(".maps");

static __always_inline struct fast_watch *watched(__u32 tid)
{
	for (__u32 i = 0; i < FAST_WATCHED; i++)
		if (shared.watch[i].tid == tid)
			return &shared.watch[i];
	return NULL;
}

/* Each switch and each wake-up of the machine passes these two. */
SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempted, const struct task_struct *prev,
	     const struct task_struct *next, unsigned int prev_state)
{
	struct fast_watch *w;

	if (!shared.watch[0].tid || preempted || !prev_state)
		return 0;
	w = watched((__u32)prev->pid);
	if (w)
		w->sleeps = 1;
	return 0;
}

/* Who sleeps because the threads that faulted last do has to be up when one of them faults
 * again: to be woken by that fault takes five times as long as to answer it. */
SEC("tp_btf/sched_waking")
int BPF_PROG(waking, const struct task_struct *task)
{
	struct fast_watch *w;

	if (!shared.watch[0].tid)
		return 0;
	w = watched((__u32)task->pid);
	if (!w || !w->sleeps)
		return 0;
	w->sleeps = 0;
	if (!shared.alarm)
		return 0;
	shared.alarm = 0;
	bpf_ringbuf_output(&alarm, &w->tid, sizeof(w->tid), BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* Is the walk right on this kernel? The loader asks about a page of its own, and
 * knows what stands in it. */
SEC("syscall")
int self_test(void *ctx)
{
	const struct task_struct *task = bpf_get_current_task_btf();
	__u64 pte, word = 0;

	if (!shared.direct_map)
		bpf_probe_read_kernel(&shared.direct_map, sizeof(shared.direct_map),
				      (void *)shared.direct_map_at);
	if (!task->mm)
		return 0;
	pte = pte_of(task->mm, shared.test_va);
	if (pte != NO_ENTRY && pte & ENTRY_PRESENT)
		bpf_probe_read_kernel(&word, sizeof(word),
				      (void *)(shared.direct_map + (pte & ENTRY_ADDR)));
	shared.test_pte = pte;
	shared.test_word = word;
	return 0;
}
