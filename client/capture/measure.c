/* SPDX-License-Identifier: Apache-2.0 */
/* How much anonymous memory the job's processes keep, by /proc. */
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/proc.h"
#include "client/capture/processes.h"
#include "common/base/units.h"

/* Sampling proportional sizes walks page tables: at most this part of the time,
 * with this long in between. */
#define PSS_SHARE   20
#define PSS_REST_NS 10000000ULL
/* One is sampled after the other: more coming and going meanwhile makes the sum
 * one that never was. */
#define MOVED_BYTES MIB(1)

/* Who shares pages with whom has changed: old samples say nothing any more. */
void processes_forget_samples(struct capture *cp)
{
	for (struct process *p = cp->procs; p; p = p->next)
		p->sampled = false;
	cp->pss_ns = 0;
}

static void sample(struct process *p)
{
	struct proc_stat st;

	p->sampled = !proc_stat(p->pid, &st) &&
		     !proc_pss_anon(p->pid, &p->pss_bytes, &p->pss_anon_bytes);
	if (p->sampled)
		p->pss_minflt = st.minflt;
}

/* Anonymous bytes of the process, those shared after fork only by their part.
 * Since it was sampled every new fault counts as a page of its own. */
static uint64_t proportional(const struct process *p)
{
	struct proc_stat st;
	uint64_t t;

	if (!p->sampled || proc_stat(p->pid, &st))
		return p->anon_bytes;
	t = p->pss_bytes + (st.minflt - p->pss_minflt) * PAGE_BYTES;
	if (p->anon_bytes > p->pss_anon_bytes)
		t += p->anon_bytes - p->pss_anon_bytes;
	return t < p->anon_bytes ? t : p->anon_bytes;
}

/* Has anything changed since the processes were measured and then sampled? */
static bool is_still(const struct capture *cp)
{
	uint64_t virt_bytes, anon_bytes, moved = 0;
	unsigned int running;
	pid_t last;

	for (const struct process *p = cp->procs; p; p = p->next) {
		if (p->borrows)
			continue;
		if (!p->sampled || proc_statm(p->statm_fd, &virt_bytes, &anon_bytes) || !virt_bytes)
			return false;
		moved += anon_bytes > p->anon_bytes ? anon_bytes - p->anon_bytes
						    : p->anon_bytes - anon_bytes;
	}
	return moved <= MOVED_BYTES && !proc_load(cp->loadavg_fd, &last, &running) &&
	       last == cp->last_pid;
}

/* All processes that have memory of their own. Was it one moment's? */
static bool sample_all(struct capture *cp)
{
	uint64_t start = capture_now_ns(), took;

	for (struct process *p = cp->procs; p; p = p->next)
		if (!p->borrows)
			sample(p);
	took = capture_now_ns() - start;
	cp->pss_ns = start + took + took * PSS_SHARE + PSS_REST_NS;
	return is_still(cp);
}

uint64_t processes_trigger_bytes(const struct capture *cp)
{
	uint64_t guard = cp->cap_bytes / 4;

	return cp->cap_bytes - (guard < MIB(64) ? guard : MIB(64));
}

/* Over less than this the kernel's counts say nothing: each CPU keeps some to itself. */
#define GROWTH_MS 2
/* To place an agent takes 1 ms; but 20 where the job's threads keep its map lock from us. */
#define PLACE_MS 20

static void note_growth(struct capture *cp, uint64_t now)
{
	uint64_t ms = (now - cp->growth_ns) / 1000000, bytes = cp->anon_bytes;

	if (ms < GROWTH_MS)
		return;
	cp->growth_per_ms = bytes > cp->growth_bytes ? (bytes - cp->growth_bytes) / ms : 0;
	cp->growth_bytes = bytes;
	cp->growth_ns = now;
}

bool processes_near_cap(const struct capture *cp)
{
	return cp->anon_bytes > processes_trigger_bytes(cp) ||
	       cp->anon_bytes + cp->growth_per_ms * PLACE_MS > cp->cap_bytes;
}

/* The task by which the memory was seen has ended; perhaps not all have, or one
 * of them has become the first by exec. */
static void measure_by_another(struct process *p)
{
	int fd = proc_open_statm(proc_mm_task(p->pid));

	p->anon_bytes = 0;
	if (fd < 0)
		return;
	close(p->statm_fd);
	p->statm_fd = fd;
	if (proc_statm(fd, &p->virt_bytes, &p->anon_bytes))
		p->anon_bytes = 0;
}

void processes_measure(struct capture *cp)
{
	uint64_t now = capture_now_ns(), sum = 0, unmanaged = 0;
	unsigned int nr = 0;

	for (struct process *p = cp->procs; p; p = p->next) {
		if (proc_statm(p->statm_fd, &p->virt_bytes, &p->anon_bytes) || !p->virt_bytes)
			measure_by_another(p);
		p->counted_bytes = p->anon_bytes;
		if (!p->borrows) {
			sum += p->anon_bytes;
			nr++;
		}
	}
	cp->shared_bytes = 0;
	cp->anon_exact = true;
	if (nr > 1 && sum > processes_trigger_bytes(cp)) {
		cp->anon_exact = now >= cp->pss_ns && sample_all(cp);
		cp->shared_bytes = sum;
		sum = 0;
		for (struct process *p = cp->procs; p; p = p->next) {
			if (p->borrows)
				continue;
			p->counted_bytes = proportional(p);
			sum += p->counted_bytes;
		}
		cp->shared_bytes -= sum < cp->shared_bytes ? sum : cp->shared_bytes;
	}
	for (struct process *p = cp->procs; p; p = p->next)
		if (!p->borrows && p->state == PROC_REFUSED)
			unmanaged += p->anon_bytes;
	cp->anon_bytes = sum;
	note_growth(cp, now);
	cp->unmanaged_bytes = unmanaged;
	cp->header->unmanaged_bytes = unmanaged;
}
