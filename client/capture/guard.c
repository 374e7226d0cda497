/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/fast.h"
#include "client/capture/uffd.h"

#define LOOK_NS 1000000000ULL

/* A kernel without KSM has no such file. What can't be read may be anything. */
static bool machine_merges(void)
{
	char run = '1';
	int fd = open("/sys/kernel/mm/ksm/run", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return access("/sys/kernel/mm", F_OK) != 0;
	if (read(fd, &run, 1) != 1)
		run = '1';
	close(fd);
	return run == '1';
}

static void look(struct capture *cp)
{
	cp->merges = machine_merges();
	cp->merges_ns = capture_now_ns();
}

static bool can_tell(const struct capture *cp)
{
	const struct bpf_ages *reader = fast_ages(cp);

	return reader && cp->has_move && ages_tell_guarded(reader);
}

bool guard_works(struct capture *cp)
{
	if (!can_tell(cp))
		return false;
	if (!cp->merges_ns || capture_now_ns() - cp->merges_ns > LOOK_NS)
		look(cp);
	return !cp->merges;
}

void guard_keep(struct capture *cp, pageset *set, const pageset *guarded)
{
	static const pageset none;
	bool merged = !guard_works(cp); /* lately */

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		set->w[i] &= guarded->w[i];
	if (!merged && pageset_count(set))
		look(cp);
	if (merged || cp->merges)
		*set = none;
}

int guard_lift(struct aspace *sp, const uint64_t *page, size_t nr)
{
	size_t k = 0;

	if (!sp->guards)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		while (k < sp->nr_keep && sp->keep[k] < page[i])
			k++;
		if (k < sp->nr_keep && sp->keep[k] == page[i])
			continue;
		if (uffd_allow(sp->uffd, page[i], page[i] + PAGE_BYTES) == -EAGAIN) {
			sp->readable = true;
			return -EAGAIN;
		}
	}
	return 0;
}
