/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a forked process does not get of its parent's memory: mappings with
 * MADV_DONTFORK are not there, those with MADV_WIPEONFORK are empty. No event
 * tells when the flags change, so they are looked up for each fork, before its
 * message is read: until then the thread that forks can't change them, and
 * what others do meanwhile is as if done before the fork.
 */
#include <errno.h>
#include <stdlib.h>

#include "client/capture/capture.h"
#include "client/capture/look.h"
#include "client/capture/proc.h"
#include "client/capture/uffd.h"

static int note_wiped(void *ctx, const struct proc_map *m)
{
	struct aspace *sp = ctx;
	struct vma_span *more;

	if (!m->wipeonfork && !m->dontfork)
		return 0;
	if (m->start >= sp->own_start && m->end <= sp->own_end)
		return 0;
	more = realloc(sp->wiped, (sp->nr_wiped + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[sp->nr_wiped++] = (struct vma_span){m->start, m->end};
	sp->wiped = more;
	return 0;
}

bool aspace_before_read(struct capture *cp, struct aspace *sp)
{
	if (!uffd_changing(sp->uffd))
		return false;
	if (!sp->pid)
		sp->pid = aspace_find_pid(cp, sp);
	if (sp->pid && look_in_fork(sp->pid) != 0)
		aspace_note_wiped(sp); /* where it fails: once more when the message is read */
	return true;
}

int aspace_note_wiped(struct aspace *sp)
{
	pid_t pid = sp->agent.ring ? sp->agent.pid : sp->pid;
	int err;

	if (sp->wiped_known)
		return 0;
	if (!pid)
		return -ENOENT;
	sp->nr_wiped = 0;
	err = proc_smaps_each(pid, note_wiped, sp);
	sp->wiped_known = !err;
	return err;
}

void aspace_after_read(struct aspace *sp)
{
	sp->wiped_known = false;
}

/* Is there room for everybody to have copies of all? */
static bool is_roomy(const struct capture *cp)
{
	return !cp->pressed && cp->anon_bytes < cp->cap_bytes / 4;
}

/* What the kernel writes to when a thread ends takes no userfault then, of this
 * kind neither. */
static void allow_kept(const struct aspace *sp, pid_t pid)
{
	uint64_t *page = NULL;
	size_t nr = 0;

	if (!pid || proc_thread_pages(pid, &page, &nr))
		return;
	for (size_t i = 0; i < nr; i++)
		uffd_allow(sp->uffd, page[i], page[i] + PAGE_BYTES);
	free(page);
}

void aspace_guard_shared(struct capture *cp, struct aspace *sp, pid_t threads_of)
{
	const struct core_range *r;
	unsigned int nr;

	if (is_roomy(cp))
		return;
	r = core_ranges(cp->core, sp->id, &nr);
	for (unsigned int i = 0; i < nr; i++)
		uffd_guard(sp->uffd, r[i].start, r[i].end); /* refused: copied unseen */
	allow_kept(sp, threads_of);
}
