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

/* Who shares pages with whom has changed: old samples say nothing any more. */
void processes_forget_samples(struct capture *cp)
{
	for (struct process *p = cp->procs; p; p = p->next)
		p->pss_ns = 0;
}

/* Anonymous bytes of the process, those shared after fork only by their part.
 * Between two samples every new fault counts as a page of its own. */
static uint64_t proportional(struct process *p, uint64_t now, bool sample)
{
	struct proc_stat st;
	uint64_t t;

	if (sample && now >= p->pss_ns && !proc_stat(p->pid, &st)) {
		t = capture_now_ns();
		if (!proc_pss_anon(p->pid, &p->pss_bytes, &p->pss_anon_bytes)) {
			p->pss_minflt = st.minflt;
			t = capture_now_ns() - t;
			p->pss_ns = now + t * PSS_SHARE + PSS_REST_NS;
		}
	} else if (!p->pss_ns || proc_stat(p->pid, &st)) {
		return p->anon_bytes;
	}
	t = p->pss_bytes + (st.minflt - p->pss_minflt) * PAGE_BYTES;
	if (p->anon_bytes > p->pss_anon_bytes)
		t += p->anon_bytes - p->pss_anon_bytes;
	return t < p->anon_bytes ? t : p->anon_bytes;
}

uint64_t processes_trigger_bytes(const struct capture *cp)
{
	uint64_t guard = cp->cap_bytes / 4;

	return cp->cap_bytes - (guard < MIB(64) ? guard : MIB(64));
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
	if (nr > 1 && sum > processes_trigger_bytes(cp)) {
		cp->shared_bytes = sum;
		sum = 0;
		for (struct process *p = cp->procs; p; p = p->next) {
			if (p->borrows)
				continue;
			p->counted_bytes = proportional(p, now, true);
			sum += p->counted_bytes;
		}
		cp->shared_bytes -= sum < cp->shared_bytes ? sum : cp->shared_bytes;
	}
	for (struct process *p = cp->procs; p; p = p->next)
		if (!p->borrows && p->state == PROC_REFUSED)
			unmanaged += p->anon_bytes;
	cp->anon_bytes = sum;
	cp->unmanaged_bytes = unmanaged;
	cp->header->unmanaged_bytes = unmanaged;
}
