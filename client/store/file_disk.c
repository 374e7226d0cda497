/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/file_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "client/core/types.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"

#define MODE 0600

/* Filesystems without O_TMPFILE get a name that is gone at once. */
static int make_named_in(const char *dir)
{
	char name[PATH_MAX];
	int fd;

	if (snprintf(name, sizeof(name), "%s/.rmem-XXXXXX", dir) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

static int make_in(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, MODE);

	if (fd >= 0)
		return fd;
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)
		return make_named_in(dir);
	return -errno;
}

static int make_at(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, MODE);

	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int make(struct file_disk *d, const char *path)
{
	struct stat st;
	bool is_dir = !stat(path, &st) && S_ISDIR(st.st_mode);

	d->fd = is_dir ? make_in(path) : make_at(path);
	if (d->fd >= 0)
		return 0;
	if (d->fd == -EEXIST)
		return err_set(-EEXIST,
			       "server file:%s: exists, and is not overwritten: name a file that "
			       "does not exist, or a directory",
			       path);
	return err_set(d->fd,
		       "server file:%s: %s: name a new file, or a directory, where this user may "
		       "write",
		       path, strerror(-d->fd));
}

static int no_room(const char *path, uint64_t bytes, uint64_t free_bytes)
{
	char want[32], have[32], missing[32];

	return err_set(-ENOSPC,
		       "server file:%s: the disk has %s free for %s: %s are missing: free them, "
		       "lower --remote, or name another disk",
		       path, units_format_size(have, sizeof(have), free_bytes),
		       units_format_size(want, sizeof(want), bytes),
		       units_format_size(missing, sizeof(missing), bytes - free_bytes));
}

static int not_reserved(const char *path, uint64_t bytes, int err)
{
	const char *remedy = err == EFBIG ? "raise the limit of file sizes (ulimit -f)"
			     : err == EOPNOTSUPP
				     ? "use a filesystem that has fallocate, such as ext4 or xfs"
				     : "lower --remote, or name another disk";
	char want[32];

	return err_set(-err, "server file:%s: %s can't be reserved: %s: %s", path,
		       units_format_size(want, sizeof(want), bytes), strerror(err), remedy);
}

/* Blocks, not a hole: the disk can't be full later, in the middle of the job. */
static int reserve(const struct file_disk *d, const char *path, uint64_t bytes)
{
	struct statfs fs;
	uint64_t free_bytes;

	if (fstatfs(d->fd, &fs))
		return not_reserved(path, bytes, errno);
	/* What the filesystem holds back for root is not for pages, even root's. */
	free_bytes = fs.f_bavail * (uint64_t)fs.f_bsize;
	if (fs.f_blocks && free_bytes < bytes) /* a tmpfs without a limit has 0 blocks */
		return no_room(path, bytes, free_bytes);
	while (fallocate(d->fd, 0, 0, (off_t)bytes))
		if (errno != EINTR)
			return not_reserved(path, bytes, errno);
	return 0;
}

static bool is_in_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* One page, to see whether the disk takes pages at all, and unbuffered. */
static int try_page(int fd)
{
	static const char page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	ssize_t n = pwrite(fd, page, sizeof(page), 0);

	return n < 0 ? -errno : n == (ssize_t)sizeof(page) ? 0 : -EIO;
}

/* Said once a run: a buffer is memory of this machine, outside of the cap. */
static void say_buffered(const char *path, bool in_memory)
{
	if (in_memory)
		log_warn("server file:%s: this filesystem is in memory (tmpfs): the pages stay "
			 "on this machine, outside of the cap",
			 path);
	else
		log_warn("server file:%s: no direct I/O on this filesystem: the kernel buffers "
			 "the pages in this machine's memory, outside of the cap",
			 path);
}

static int set_direct(struct file_disk *d, const char *path)
{
	bool in_memory = is_in_memory(d->fd);
	int err;

	d->is_direct = !in_memory && !fcntl(d->fd, F_SETFL, O_DIRECT);
	err = try_page(d->fd);
	if (err == -EINVAL && d->is_direct) { /* a device of larger blocks than pages */
		d->is_direct = false;
		err = fcntl(d->fd, F_SETFL, 0) ? -errno : try_page(d->fd);
	}
	if (err)
		return err_set(err, "server file:%s: a first page can't be written: %s: see dmesg",
			       path, strerror(-err));
	if (!d->is_direct)
		say_buffered(path, in_memory);
	return 0;
}

int file_disk_open(struct file_disk *d, const char *path, uint64_t bytes)
{
	int err = make(d, path);

	if (!err)
		err = reserve(d, path, bytes);
	if (!err)
		err = set_direct(d, path);
	if (err)
		file_disk_close(d);
	return err;
}

void file_disk_adopt(struct file_disk *d, int fd)
{
	d->fd = fd;
	d->is_direct = fcntl(fd, F_GETFL) & O_DIRECT;
}

void file_disk_close(struct file_disk *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}
