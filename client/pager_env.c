/* SPDX-License-Identifier: Apache-2.0 */
/* What the core asks of its process: the time, sums, and to say that the job can't go on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/capture/fast.h"
#include "client/pager.h"
#include "common/base/err.h"

static uint64_t env_now_ns(void *ctx)
{
	(void)ctx;
	return capture_now_ns();
}

static uint64_t env_sum(void *ctx, const void *page)
{
	const struct pager *p = ctx;

	return sum_page(&p->kept->secret, page);
}

static bool env_pressed(void *ctx)
{
	const struct pager *p = ctx;

	return fast_pressed(&p->capture) || capture_now_ns() - p->served_ns < PACE_NS;
}

static const char *loss_text(enum core_loss why)
{
	switch (why) {
	case LOSS_SUM:
		return "a page came back from its server with other bytes than were sent";
	case LOSS_STORE:
		return "a memory server is gone or refuses pages";
	case LOSS_SPACE:
		return "an address space of the job could not be followed";
	case LOSS_FULL:
		return "out of remote memory: give more with --remote, or raise --local";
	case LOSS_CAP:
		return "the cap is reached and nothing more can leave this machine (locked, "
		       "pinned, "
		       "shared or unmanaged memory): raise --local";
	case LOSS_MEMORY:
		return "this machine has no memory to put a page back into";
	case LOSS_INTERNAL:
		break;
	}
	return "out of memory for page records";
}

void pager_lose(struct pager *p, const char *text)
{
	if (p->lost)
		return;
	p->lost = true;
	if (ctl_send(p->args->ctl_fd, CTL_LOST, 0, "%s", text))
		_exit(EXIT_FAILURE); /* it is seen to end, if nothing else */
}

static void env_lost(void *ctx, enum core_loss why, space_id sp, uint64_t va, int err)
{
	struct pager *p = ctx;
	const struct core_stats *st = core_stats(p->capture.core);
	const struct aspace *as = sp.v ? aspace_find(&p->capture, sp) : NULL;
	char text[CTL_TEXT_BYTES], where[96] = "";

	if (as && va)
		snprintf(where, sizeof(where), " (process %d, page 0x%llx)", as->pid,
			 (unsigned long long)va);
	/* A store that is lost has said which server, and how. */
	if (why == LOSS_STORE && err == -EPIPE)
		snprintf(text, sizeof(text), "%s; %llu pages were remote", err_text(err),
			 (unsigned long long)st->remote_pages);
	else
		snprintf(text, sizeof(text), "%s%s; %llu pages were remote%s%s", loss_text(why),
			 where, (unsigned long long)st->remote_pages, err ? ": " : "",
			 err ? strerror(-err) : "");
	pager_lose(p, text);
}

const struct env_ops pager_env = {
	.now_ns = env_now_ns,
	.sum = env_sum,
	.pressed = env_pressed,
	.lost = env_lost,
};
