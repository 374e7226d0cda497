/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_probe: what the kernel has and what we may use. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

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

/* For tests: as on a kernel that has neither. */
static bool as_if_old(void)
{
	return getenv("RMEM_TEST_NO_MOVE");
}

int probe_move(int dev_fd)
{
	uint64_t features;
	int err = probe_features(dev_fd, &features);

	if (err)
		return err_set(err, DEVICE ": %s", strerror(-err));
	return features & UFFD_FEATURE_MOVE && !as_if_old() ? 0 : -ENOSYS;
}

int probe_poison(int dev_fd)
{
	uint64_t features;
	int err = probe_features(dev_fd, &features);

	if (err)
		return err_set(err, DEVICE ": %s", strerror(-err));
	return features & UFFD_FEATURE_POISON && !as_if_old() ? 0 : -ENOSYS;
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

int probe_protect(int dev_fd)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_api a = {.api = UFFD_API};
	struct uffdio_register r = {
		.range = {(uintptr_t)page, 4096},
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	int fd = ioctl(dev_fd, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	bool can = fd >= 0 && page != MAP_FAILED && !ioctl(fd, UFFDIO_API, &a) &&
		   !ioctl(fd, UFFDIO_REGISTER, &r) && r.ioctls & 1ULL << _UFFDIO_WRITEPROTECT;

	if (fd >= 0)
		close(fd);
	if (page != MAP_FAILED)
		munmap(page, 4096);
	if (can)
		return 0;
	return err_set(-ENOSYS,
		       "rmem needs userfaultfd with write protection (Linux 5.7), this is %s: %s",
		       probe_release(), PROBE_KERNEL_FIX);
}

int probe_open_device(int *fd, bool *no_move)
{
	int err = probe_device(fd);

	if (err)
		return err;
	err = probe_move(*fd);
	*no_move = err == -ENOSYS;
	if (*no_move)
		err = probe_protect(*fd);
	if (!err)
		err = probe_fork_event(*fd);
	return err;
}
