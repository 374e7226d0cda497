/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/core/types.h"
#include "common/compat.h"

int uffd_open(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), err;

	if (fd < 0)
		return -errno;
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int uffd_fill(int fd, uint64_t va, unsigned int nr, const void *src, bool guard, unsigned int *done)
{
	struct uffdio_copy c = {.dst = va,
				.src = (uintptr_t)src,
				.len = (uint64_t)nr * PAGE_BYTES,
				.mode = guard ? UFFDIO_COPY_MODE_WP : 0};
	int err = ioctl(fd, UFFDIO_COPY, &c) ? -errno : 0;

	*done = c.copy > 0 ? (unsigned int)((uint64_t)c.copy / PAGE_BYTES) : 0;
	/* After a part the error says only that it stopped: what it stopped at
	 * is told when it is tried from there. */
	return err;
}

int uffd_wake(int fd, uint64_t va, uint64_t bytes)
{
	struct uffdio_range r = {.start = va, .len = bytes};

	return ioctl(fd, UFFDIO_WAKE, &r) ? -errno : 0;
}

int uffd_poison(int fd, uint64_t va)
{
	struct uffdio_poison p = {.range = {.start = va, .len = PAGE_BYTES}};

	return ioctl(fd, UFFDIO_POISON, &p) ? -errno : 0;
}

int uffd_register(int fd, uint64_t start, uint64_t end)
{
	struct uffdio_register r = {.range = {.start = start, .len = end - start},
				    .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP};

	return ioctl(fd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

int uffd_unregister(int fd, uint64_t start, uint64_t end)
{
	struct uffdio_range r = {.start = start, .len = end - start};

	return ioctl(fd, UFFDIO_UNREGISTER, &r) ? -errno : 0;
}

static int write_protect(int fd, uint64_t start, uint64_t end, uint64_t mode)
{
	struct uffdio_writeprotect w = {.range = {.start = start, .len = end - start},
					.mode = mode};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &w) ? -errno : 0;
}

int uffd_guard(int fd, uint64_t start, uint64_t end)
{
	return write_protect(fd, start, end, UFFDIO_WRITEPROTECT_MODE_WP);
}

int uffd_allow(int fd, uint64_t start, uint64_t end)
{
	return write_protect(fd, start, end, 0);
}

bool uffd_alive(int fd)
{
	static const char byte[2 * PAGE_BYTES];
	const char *page = (const char *)(((uintptr_t)byte + PAGE_BYTES - 1) & PAGE_MASK);
	unsigned int done;

	/* Nobody maps the first pages: a living space says ENOENT. */
	return uffd_fill(fd, PAGE_BYTES, 1, page, false, &done) != -ESRCH;
}

int uffd_is_registered(int fd, uint64_t va)
{
	struct uffdio_continue c = {.range = {.start = va, .len = PAGE_BYTES}};

	if (!ioctl(fd, UFFDIO_CONTINUE, &c))
		return -EIO; /* not anonymous */
	if (errno == EINVAL)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

bool uffd_changing(int fd)
{
	/* The kernel looks for events before it finds that the length is 0. */
	struct uffdio_copy c = {.dst = PAGE_BYTES};

	return ioctl(fd, UFFDIO_COPY, &c) && errno == EAGAIN;
}

bool uffd_has_messages(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

int uffd_read(int fd, struct uffd_msg *out, unsigned int max)
{
	ssize_t n = read(fd, out, max * sizeof(*out));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return (int)((size_t)n / sizeof(*out));
}
