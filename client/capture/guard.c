/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/guard.h"

#include <fcntl.h>
#include <unistd.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/fast.h"

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

bool guard_works(struct capture *cp)
{
	const struct bpf_ages *reader = fast_ages(cp);
	uint64_t now;

	if (!reader || !cp->has_move || !ages_tell_guarded(reader))
		return false;
	now = capture_now_ns();
	if (!cp->merges_ns || now - cp->merges_ns > LOOK_NS) {
		cp->merges = machine_merges();
		cp->merges_ns = now;
	}
	return !cp->merges;
}

void guard_keep(struct capture *cp, pageset *set, const pageset *guarded)
{
	bool works = guard_works(cp);

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		set->w[i] &= works ? guarded->w[i] : 0;
}
