/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_probe: what the kernel has and what we may use. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/bpf_fast.h"
#include "client/capture/bpf_pins.h"
#include "client/supervisor_probe.h"
#include "common/base/err.h"
#include "common/compat.h"

#define DEVICE "/dev/userfaultfd"

const char *probe_release(void)
{
	static struct utsname u;

	return uname(&u) ? "?" : u.release;
}

int probe_device(int *fd)
{
	*fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	if (errno == EACCES || errno == EPERM)
		return err_set(-errno,
			       DEVICE ": %s: run rmem as root, or give this user access:"
				      " setfacl -m u:NAME:rw " DEVICE " (in a container also"
				      " --device " DEVICE ")",
			       strerror(errno));
	if (errno == ENOENT)
		return err_set(-ENOENT,
			       DEVICE " is not there: rmem needs Linux 6.8 or newer, this"
				      " is %s; in a container start it with --device " DEVICE,
			       probe_release());
	return err_set(-errno, DEVICE ": %s", strerror(errno));
}

static int api(int dev_fd, uint64_t want, uint64_t *have)
{
	struct uffdio_api a = {.api = UFFD_API, .features = want};
	int fd = ioctl(dev_fd, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	err = ioctl(fd, UFFDIO_API, &a) ? -errno : 0;
	close(fd);
	if (!err && have)
		*have = a.features;
	return err;
}

int probe_features(int dev_fd, uint64_t *features)
{
	return api(dev_fd, 0, features);
}

/* What is pinned must be told from the rest, or bytes would be lost. */
static int probe_pins(void)
{
	struct bpf_pins *pins;
	char why[192];
	int err = pins_load(&pins);

	if (!err) {
		pins_unload(pins);
		return 0;
	}
	snprintf(why, sizeof(why), "%s", err_text(err));
	return err_set(err, "no UFFDIO_MOVE here (Linux 6.8), this is %s, and without it: %s",
		       probe_release(), why);
}

int probe_evict(int dev_fd, bool *moves)
{
	uint64_t features;
	int err = probe_features(dev_fd, &features);

	if (err)
		return err_set(err, DEVICE ": %s", strerror(-err));
	*moves = features & UFFD_FEATURE_MOVE;
	if (*moves)
		return 0;
	if (!(features & UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		return err_set(-ENOSYS,
			       "rmem needs UFFDIO_MOVE (Linux 6.8) or UFFDIO_WRITEPROTECT,"
			       " this is %s: %s",
			       probe_release(), PROBE_KERNEL_FIX);
	return probe_pins();
}

int probe_fork_event(int dev_fd)
{
	int err = api(dev_fd, UFFD_FEATURE_EVENT_FORK, NULL);

	if (err == -EPERM)
		return err_set(err, "no right to follow fork and to look into processes"
				    " (CAP_SYS_PTRACE): run rmem as root, or setcap"
				    " cap_sys_ptrace+ep on rmem (in a container --cap-add"
				    " SYS_PTRACE)");
	return err ? err_set(err, DEVICE ": %s", strerror(-err)) : 0;
}

int probe_pagemap_scan(void)
{
	static const char page[4096] __attribute__((aligned(4096)));
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)page,
		.end = (uintptr_t)page + sizeof(page),
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return err_set(-errno, "/proc/self/pagemap: %s: mount /proc", strerror(errno));
	err = ioctl(fd, PAGEMAP_SCAN, &arg) < 0 ? -errno : 0;
	close(fd);
	return err && err != -ENOTTY
		       ? err_set(err, "/proc/self/pagemap can't be scanned: %s", strerror(-err))
		       : err;
}

int probe_bpf(bool *is_fast)
{
	struct fast_shared *shared;
	struct bpf_ages *ages;
	struct bpf_fast *fast;
	int err = fast_load(&fast, &shared);

	*is_fast = !err;
	if (err)
		return err;
	err = ages_load(shared->direct_map, shared->levels, &ages);
	if (!err)
		ages_unload(ages);
	fast_unload(fast);
	return err;
}

int probe_open_device(int *fd)
{
	int err = probe_device(fd);
	bool moves;

	if (!err)
		err = probe_evict(*fd, &moves);
	if (!err)
		err = probe_fork_event(*fd);
	if (!err)
		err = probe_pagemap_scan();
	return err == -ENOTTY ? 0 : err;
}
