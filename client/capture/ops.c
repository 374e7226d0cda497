/* SPDX-License-Identifier: Apache-2.0 */
/* What the core asks of the job's address spaces, on a real kernel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/bpf_pins.h"
#include "client/capture/capture.h"
#include "client/capture/fast.h"
#include "client/capture/guard.h"
#include "client/capture/proc.h"
#include "client/capture/take.h"
#include "client/capture/uffd.h"

/* After a REMOVE that came while the space's pages could not be looked up,
 * nothing of it is moved for this long. */
#define BLIND_NS 1000000000ULL

/* How old the list of pages that must stay may be. */
#define KEEP_NS 1000000ULL

/* Who had nothing put in place by its agent for this long keeps no pages for it, */
#define SPARE_NS 200000000ULL
/* nor where these are more than a sixteenth of the cap. */
#define SPARE_BYTES (AGENT_HALVES * CHUNK_BYTES)

static struct aspace *living(void *ctx, space_id id)
{
	struct aspace *sp = aspace_find(ctx, id);

	return sp && !sp->dead ? sp : NULL;
}

static int fill_from(void *ctx, space_id id, uint64_t va, unsigned int nr, const void *src,
		     bool guard, unsigned int *done)
{
	struct aspace *sp = living(ctx, id);
	int err;

	*done = 0;
	if (!sp)
		return -ESRCH;
	if (sp->taking) /* who waits for a page is held by that */
		return -EAGAIN;
	err = uffd_fill(sp->uffd, va, nr, src, guard, done);
	if (err == -ENOENT && nr > 1 && !*done) /* all of it is refused if it spans mappings */
		err = uffd_fill(sp->uffd, va, 1, src, guard, done);
	if (err == -EAGAIN && !*done)
		sp->readable = true;
	sp->guards |= guard;
	if (*done) {
		fast_answered(ctx, id, va, *done);
		fast_note(ctx, id, va);
	}
	return err;
}

/* UFFDIO_COPY takes bytes in a row, and costs 1.7 us for one page, 1.0 for each of many: to
 * bring them together takes 0.1, since they were summed up a moment ago. */
static int fill(void *ctx, space_id id, uint64_t va, unsigned int nr, const void *const *src,
		bool *guard, unsigned int *done)
{
	static char row[FILL_PAGES * PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	unsigned int n = 1;

	while (n < nr && (const char *)src[n] == (const char *)src[0] + n * PAGE_BYTES)
		n++;
	*guard = *guard && guard_works(ctx);
	if (n == nr)
		return fill_from(ctx, id, va, nr, src[0], *guard, done);
	for (unsigned int i = 0; i < nr; i++)
		memcpy(row + i * PAGE_BYTES, src[i], PAGE_BYTES);
	return fill_from(ctx, id, va, nr, row, *guard, done);
}

static int fill_zero(void *ctx, space_id id, uint64_t va, unsigned int nr, unsigned int *done)
{
	const struct capture *cp = ctx;

	return fill_from(ctx, id, va, nr, cp->zeros, false, done);
}

static int allow(void *ctx, space_id id, uint64_t va, unsigned int nr)
{
	struct aspace *sp = living(ctx, id);
	int err;

	if (!sp)
		return -ESRCH;
	if (sp->taking)
		return -EAGAIN;
	err = uffd_allow(sp->uffd, va, va + nr * PAGE_BYTES);
	if (err == -EAGAIN)
		sp->readable = true;
	return err;
}

static void wake(void *ctx, space_id id, uint64_t va, unsigned int nr)
{
	struct aspace *sp = living(ctx, id);

	if (!sp)
		return;
	uffd_wake(sp->uffd, va, nr * PAGE_BYTES);
	fast_answered(ctx, id, va, nr);
}

static int poison(void *ctx, space_id id, uint64_t va)
{
	struct aspace *sp = living(ctx, id);

	return sp ? uffd_poison(sp->uffd, va) : -ESRCH;
}

/* Which pages must stay. When it can't be told, nothing of the space may move. */
static int refresh_keep(struct aspace *sp)
{
	uint64_t now = capture_now_ns(), *page = NULL;
	size_t nr = 0;
	int err;

	if (!sp->pid)
		return -ESRCH;
	if (now - sp->keep_ns < KEEP_NS)
		return 0;
	err = proc_thread_pages(sp->pid, &page, &nr);
	if (!err)
		err = guard_lift(sp, page, nr);
	if (err) {
		free(page);
		return err;
	}
	free(sp->keep);
	sp->keep = page;
	sp->nr_keep = nr;
	sp->keep_ns = now;
	return 0;
}

/* Less those that must stay. */
static int leave_keep(struct aspace *sp, uint64_t chunk_va, pageset *set)
{
	int err = refresh_keep(sp);

	for (size_t i = 0; !err && i < sp->nr_keep; i++)
		if (sp->keep[i] >= chunk_va && sp->keep[i] < chunk_va + CHUNK_BYTES)
			pageset_del(set, (unsigned int)((sp->keep[i] - chunk_va) >> PAGE_SHIFT));
	return err;
}

/* The chunk's page table, where it can be read: see ages_present(). */
static bool read_table(const struct capture *cp, const struct aspace *sp, uint64_t chunk_va,
		       pageset *any, pageset *own, pageset *guarded)
{
	struct bpf_ages *reader = fast_ages(cp);

	return reader && sp->agent.ring &&
	       !ages_present(reader, sp->agent.pid, chunk_va, any, own, guarded);
}

static int scan(void *ctx, space_id id, uint64_t chunk_va, bool movable, pageset *out)
{
	struct aspace *sp = living(ctx, id);
	pageset any, guarded;
	int err;

	if (!sp)
		return -ESRCH;
	if (sp->pagemap_fd < 0) {
		sp->blind_ns = capture_now_ns();
		return -ESRCH;
	}
	if (movable && read_table(ctx, sp, chunk_va, &any, out, &guarded))
		return leave_keep(sp, chunk_va, out);
	err = proc_present(sp->pagemap_fd, chunk_va, chunk_va + CHUNK_BYTES, out);
	if (err || !movable)
		return err;
	return leave_keep(sp, chunk_va, out);
}

static int ages(void *ctx, space_id id, uint64_t chunk_va, pageset *young)
{
	struct aspace *sp = living(ctx, id);
	const struct capture *cp = ctx;
	struct bpf_ages *reader = fast_ages(cp);
	pageset free;

	if (sp && sp->agent.ring && cp->pins)
		return pins_read(cp->pins, sp->agent.pidfd, chunk_va, &free, young);
	if (!sp || !sp->agent.ring || !reader)
		return -EOPNOTSUPP;
	return ages_young(reader, sp->agent.pid, chunk_va, young);
}

static void age(void *ctx, space_id id, uint64_t chunk_va, const pageset *set)
{
	struct aspace *sp = living(ctx, id);

	/* Where it fails, as without CAP_SYS_NICE, all pages look accessed. */
	if (sp && sp->agent.ring)
		ages_clear(sp->agent.pidfd, chunk_va, set);
}

static uint64_t next_present(void *ctx, space_id id, uint64_t va, uint64_t end)
{
	struct aspace *sp = living(ctx, id);
	uint64_t at = end;

	if (!sp)
		return end;
	if (sp->pagemap_fd < 0) {
		sp->blind_ns = capture_now_ns();
		return end;
	}
	return proc_next_present(sp->pagemap_fd, va, end, &at) ? end : at;
}

static bool can_move(void *ctx, space_id id)
{
	struct aspace *sp = living(ctx, id);

	if (!sp || !sp->agent.ring || sp->taking ||
	    (sp->blind_ns && capture_now_ns() - sp->blind_ns < BLIND_NS))
		return false;
	if (!sp->readable)
		sp->readable = uffd_has_messages(sp->uffd);
	return !sp->readable;
}

static int move(void *ctx, space_id id, unsigned int half, uint64_t chunk_va, const pageset *want,
		const pageset *known)
{
	struct agent_cmd cmd = {.op = AGENT_MOVE, .half = half, .va = chunk_va, .want = *want};
	struct aspace *sp = living(ctx, id);
	struct capture *cp = ctx;
	pageset any, own, guarded = {{0}};
	int err;

	if (!sp)
		return -ESRCH;
	/* A fault that came meanwhile waits for the agent, as one does that comes a moment
	 * later; an event sends the agent back. Not asked again: to hand the pages over takes as
	 * long as the next fault, and then they would never go. */
	if (!cp->has_move)
		return can_move(ctx, id) ? take_begin(cp, sp, half, chunk_va, want) : -EAGAIN;
	err = leave_keep(sp, chunk_va, &cmd.want); /* threads may have begun since scan() */
	if (!err && !read_table(cp, sp, chunk_va, &any, &own, &guarded))
		err = proc_any(sp->pagemap_fd, chunk_va, chunk_va + CHUNK_BYTES, &any);
	if (err)
		return err;
	for (unsigned int i = 0; i < CHUNK_WORDS; i++) {
		cmd.gaps.w[i] = ~any.w[i];
		cmd.known.w[i] = known->w[i] & cmd.want.w[i];
	}
	guard_keep(cp, &cmd.known, &guarded);
	cmd.bounce = aspace_may_bounce(cp, sp);
	cmd.keep = cmd.bounce && sp->place_ns && capture_now_ns() - sp->place_ns < SPARE_NS &&
		   SPARE_BYTES <= cp->cap_bytes / 16;
	err = agent_post(sp, &cmd);
	if (!err)
		sp->drop[half] = false; /* the agent empties the half itself */
	if (!err && cmd.keep)
		sp->coming[half] = pageset_count(&cmd.want);
	return err;
}

/* Scratch is read only where it is proven full: a hole would make the pager
 * wait for itself. Shared zeros are no hole: Linux 6.13 and newer puts them in
 * place of what is zero when a move splits a huge page (mm/migrate.c,
 * try_to_map_unused_to_zeropage()). */
static int check_scratch(const struct aspace *sp, uint64_t va, const pageset *set)
{
	unsigned int first = pageset_next(set, 0), end = CHUNK_PAGES;
	pageset here;
	int err;

	while (end > first && !pageset_has(set, end - 1))
		end--;
	err = proc_any(sp->pagemap_fd, va + first * PAGE_BYTES, va + end * PAGE_BYTES, &here);

	for (unsigned int i = 0; !err && i < CHUNK_WORDS; i++)
		if (set->w[i] & ~here.w[i])
			err = -EIO;
	return err;
}

static int copy_out(void *ctx, space_id id, unsigned int half, const pageset *set,
		    void *const *frames)
{
	struct aspace *sp = living(ctx, id);
	struct iovec to[CHUNK_PAGES], from[CHUNK_PAGES];
	size_t nr_to = 0, nr_from = 0, bytes = 0;
	uint64_t base;
	ssize_t got;
	int err;

	if (!sp)
		return -ESRCH;
	if (sp->bounced[half]) {
		const char *bounce = (const char *)sp->agent.ring + PAGE_BYTES + half * CHUNK_BYTES;

		for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES;
		     i = pageset_next(set, i + 1))
			memcpy(*frames++, bounce + i * PAGE_BYTES, PAGE_BYTES);
		return 0;
	}
	base = sp->scratch[half];
	err = check_scratch(sp, base, set);
	if (err)
		return err;
	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES;
	     i = pageset_next(set, i + 1), bytes += PAGE_BYTES) {
		char *va = (char *)(uintptr_t)(base + i * PAGE_BYTES);

		if (nr_from && (char *)from[nr_from - 1].iov_base + from[nr_from - 1].iov_len == va)
			from[nr_from - 1].iov_len += PAGE_BYTES;
		else
			from[nr_from++] = (struct iovec){va, PAGE_BYTES};
		if (nr_to && (char *)to[nr_to - 1].iov_base + to[nr_to - 1].iov_len ==
				     (char *)frames[bytes / PAGE_BYTES])
			to[nr_to - 1].iov_len += PAGE_BYTES;
		else
			to[nr_to++] = (struct iovec){frames[bytes / PAGE_BYTES], PAGE_BYTES};
	}
	got = process_vm_readv(sp->agent.pid, to, nr_to, from, nr_from, 0);
	if (got == (ssize_t)bytes)
		return 0;
	return got < 0 ? -errno : -EIO;
}

static bool at_hand(void *ctx, space_id id, unsigned int half)
{
	const struct aspace *sp = living(ctx, id);

	return sp && sp->bounced[half];
}

static void drop(void *ctx, space_id id, unsigned int half)
{
	struct aspace *sp = living(ctx, id);

	if (sp && !sp->bounced[half])
		sp->drop[half] = true;
}

/* What the agent has pages to spare for. Who faulted meanwhile waits for it, and may well for
 * one of these pages. */
static int place(void *ctx, space_id id, uint64_t chunk_va, pageset *want, const void *const *bytes)
{
	struct agent_cmd cmd = {.op = AGENT_PLACE, .va = chunk_va};
	struct aspace *sp = living(ctx, id);
	struct capture *cp = ctx;
	unsigned int n = 0, most;
	char *in;

	if (!sp || !sp->agent.ring || !cp->has_move)
		return -ESRCH;
	sp->place_ns = capture_now_ns();
	most = sp->spare + sp->coming[0] + sp->coming[1];
	if (!most || !aspace_may_bounce(cp, sp))
		return -EAGAIN;
	in = (char *)sp->agent.ring + PAGE_BYTES + AGENT_BOUNCE_IN;
	for (unsigned int i = pageset_next(want, 0); i < CHUNK_PAGES && n < most;
	     i = pageset_next(want, i + 1)) {
		memcpy(in + i * PAGE_BYTES, bytes[n++], PAGE_BYTES);
		pageset_add(&cmd.want, i);
	}
	*want = cmd.want;
	return agent_post(sp, &cmd);
}

static int populate(void *ctx, space_id id, uint64_t chunk_va, const pageset *want)
{
	struct agent_cmd cmd = {.op = AGENT_POPULATE, .va = chunk_va, .want = *want};
	struct aspace *sp = living(ctx, id);

	return sp ? agent_post(sp, &cmd) : -ESRCH;
}

static void want_agent(void *ctx, space_id id)
{
	struct capture *cp = ctx;
	struct aspace *sp = living(ctx, id);

	if (!sp || sp->agent.ring) /* has one since before a takeover, to be proven first */
		return;
	sp->wanted = true;
	if (!sp->pid)
		sp->pid = aspace_find_pid(cp, sp);
	if (sp->pid && !sp->asked)
		injector_ask(cp, sp->pid, sp);
}

static int quiesce(void *ctx, space_id id)
{
	struct aspace *sp = living(ctx, id);

	if (!sp || !sp->pid)
		return -ESRCH;
	return injector_quiesce(ctx, sp);
}

static bool is_alive(struct capture *cp, space_id id)
{
	const struct aspace *sp = living(cp, id);

	return sp && uffd_alive(sp->uffd);
}

/* Without it the child may be given bytes that it must not have, and without the records
 * zeros in place of others: only one that is gone as well needs neither. */
static int not_inherited(void *ctx, space_id parent, space_id child)
{
	struct capture *cp = ctx;
	struct aspace *sp = living(ctx, parent);
	int err;

	if (!sp)
		return -ESRCH;
	if (!sp->pid)
		sp->pid = aspace_find_pid(cp, sp);
	err = aspace_note_wiped(sp);
	if (err)
		return is_alive(cp, child) ? (err == -ESRCH ? -ENOENT : err) : -ESRCH;
	for (size_t i = 0; i < sp->nr_wiped; i++)
		core_not_inherited(cp->core, sp->wiped[i].start, sp->wiped[i].end);
	return 0;
}

const struct capture_ops capture_real_ops = {
	.allow = allow,
	.at_hand = at_hand,
	.can_move = can_move,
	.copy_out = copy_out,
	.drop = drop,
	.fill = fill,
	.fill_zero = fill_zero,
	.move = move,
	.place = place,
	.ages = ages,
	.age = age,
	.next_present = next_present,
	.not_inherited = not_inherited,
	.poison = poison,
	.populate = populate,
	.quiesce = quiesce,
	.scan = scan,
	.wake = wake,
	.want_agent = want_agent,
};
