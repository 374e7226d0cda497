/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file: pages in a file on a disk of this machine, by io_uring and past the
 * page cache; slot i is at offset i * PAGE_BYTES. Opening and closing; the way
 * of a request is file_io.c, the file itself file_disk.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "client/store/file_io.h"
#include "client/store/open.h"
#include "common/base/err.h"
#include "common/base/units.h"

#define CLOSE_WAIT_MS 5000

static struct file_store *to_file(struct store *s)
{
	return (struct file_store *)s;
}

static int file_pollfd(struct store *s)
{
	return to_file(s)->event_fd;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Buffers go back to their owner, unless the disk hangs. */
static void drain(struct file_store *f)
{
	int64_t end = now_ms() + CLOSE_WAIT_MS;
	struct store_done done[FILE_RUN_PAGES];

	while (f->nr_flying && !f->err && now_ms() < end) {
		struct __kernel_timespec t = {.tv_nsec = 100 * 1000 * 1000};
		struct io_uring_cqe *cqe;

		io_uring_wait_cqe_timeout(&f->ring, &cqe, &t);
		while (file_reap(&f->store, done, FILE_RUN_PAGES) > 0)
			;
	}
}

static void file_close(struct store *s)
{
	struct file_store *f = to_file(s);

	if (!f)
		return;
	if (f->has_ring) {
		drain(f);
		io_uring_queue_exit(&f->ring);
	}
	if (f->event_fd >= 0)
		close(f->event_fd);
	file_disk_close(&f->disk);
	free(f);
}

static const struct store_ops file_ops = {
	.scheme = "file",
	.submit = file_submit,
	.reap = file_reap,
	.pollfd = file_pollfd,
	.close = file_close,
};

static int no_ring(const struct file_store *f, int err)
{
	const char *remedy = "see io_uring_setup(2)";

	if (err == -EPERM)
		remedy = "allow it with sysctl kernel.io_uring_disabled=0, and in a container "
			 "with a seccomp profile that lets it pass";
	else if (err == -ENOSYS)
		remedy = "use a kernel that has it, and in a container a seccomp profile that "
			 "lets it pass";
	else if (err == -ENOMEM || err == -EAGAIN)
		remedy = "raise the limit of locked memory (ulimit -l)";
	return err_set(err, "server file:%s: io_uring: %s: %s", f->path, strerror(-err), remedy);
}

static int open_ring(struct file_store *f)
{
	/* The pager enters the kernel often enough to need no interrupt for it. */
	int err = io_uring_queue_init(FILE_NR_RUNS, &f->ring, IORING_SETUP_COOP_TASKRUN);

	if (err)
		return no_ring(f, err);
	f->has_ring = true;
	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = f->event_fd < 0 ? -errno : io_uring_register_eventfd(&f->ring, f->event_fd);
	return err ? err_set(err, "server file:%s: eventfd: %s", f->path, strerror(-err)) : 0;
}

static int check_size(const struct spec *spec, uint64_t bytes)
{
	const char *text = spec_param(spec, "size");
	char want[32];
	uint64_t size;
	int err;

	if (!text)
		return 0;
	err = units_parse_size(text, &size);
	if (err)
		return err_set(err, "server file:%s: size: %s", spec->rest, err_text(err));
	if (size >= bytes)
		return 0;
	return err_set(-ENOSPC,
		       "server file:%s: size=%.40s is less than the %s that it is to keep: raise "
		       "size, lower --remote, or name more servers",
		       spec->rest, text, units_format_size(want, sizeof(want), bytes));
}

static int check_spec(const struct spec *spec)
{
	if (spec->rest[0] != '/' || spec->nr_kids ||
	    spec->nr_params != (spec_param(spec, "size") ? 1U : 0U))
		return err_set(-EINVAL, "server file: needs a path, and no more than a size: "
					"write for example file:/var/tmp,size=16G");
	return 0;
}

/* ---- after the process before ---- */

enum { KEPT_DISK, KEPT_EVENT, KEPT_RING };

/*
 * How many requests of a ring are not done. Its memory is its process's, but it tells this
 * to whoever has the descriptor: how many it took, and how many completions it has written.
 * -1: it does not, now.
 */
static int64_t ring_flying(int ring_fd)
{
	uint32_t taken = 0, done = 0;
	char path[64], line[128];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring_fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		found += sscanf(line, "CachedSqHead: %u", &taken) == 1;
		found += sscanf(line, "CachedCqTail: %u", &done) == 1;
	}
	if (f)
		fclose(f);
	return found == 2 ? (int64_t)(uint32_t)(taken - done) : -1;
}

/* The disk does what it was asked, though who asked is dead: a read of it would come into a
 * frame that holds something else by then, a write over what was written since. */
static int wait_for_disk(const struct file_store *f, const struct handed *old)
{
	const struct timespec pause = {.tv_nsec = 100000};
	int64_t end = now_ms() + CLOSE_WAIT_MS;

	while (ring_flying(old->fd[KEPT_RING]) != 0) {
		if (now_ms() > end)
			return err_set(
				-ETIMEDOUT,
				"server file:%s: what was under way to the disk does not end",
				f->path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void hand_over(const struct file_store *f, struct handover *k)
{
	struct handed now = {.used = true};

	handed_add_fd(&now, f->disk.fd);
	handed_add_fd(&now, f->event_fd);
	handed_add_fd(&now, f->ring.ring_fd);
	handover_set(k, &now);
}

/* ---- opening ---- */

/* A new file, or that of the process before. */
static int open_disk(struct file_store *f, const struct store_open_args *args)
{
	const struct handed *kept = handover_get(args->handover);
	struct handed old;
	int err;

	if (!kept) {
		err = file_disk_open(&f->disk, f->path, args->bytes);
		if (!err)
			hand_over(f, args->handover);
		return err;
	}
	old = *kept;
	err = wait_for_disk(f, &old);
	if (err) {
		handover_end(args->handover, 1);
		return err;
	}
	file_disk_adopt(&f->disk, old.fd[KEPT_DISK]);
	hand_over(f, args->handover);
	close(old.fd[KEPT_EVENT]);
	close(old.fd[KEPT_RING]);
	return 0;
}

static struct file_store *file_new(const char *path, uint64_t bytes)
{
	struct file_store *f = calloc(1, sizeof(*f) + strlen(path) + 1);

	if (!f)
		return NULL;
	f->store.ops = &file_ops;
	f->store.nr_slots = bytes / PAGE_BYTES;
	f->disk.fd = f->event_fd = -1;
	memcpy(f->path, path, strlen(path) + 1);
	for (unsigned int i = FILE_NR_RUNS; i--;) {
		f->run[i].next_free = f->free;
		f->free = &f->run[i];
	}
	f->nr_free = FILE_NR_RUNS;
	return f;
}

static int file_open(const struct spec *spec, const struct store_open_args *args,
		     struct store **out)
{
	struct file_store *f;
	int err = check_spec(spec);

	if (!err)
		err = check_size(spec, args->bytes);
	if (err)
		return err;
	if (!args->bytes || args->bytes % PAGE_BYTES)
		return err_set(-EINVAL, "server file: size is not a multiple of %lu", PAGE_BYTES);
	f = file_new(spec->rest, args->bytes);
	if (!f)
		return err_set(-ENOMEM, "server file: out of memory");
	err = open_ring(f); /* first: it costs nothing */
	if (!err)
		err = open_disk(f, args);
	if (err) {
		file_close(&f->store);
		return err;
	}
	*out = &f->store;
	return 0;
}

const struct store_type store_file_type = {
	.scheme = "file",
	.survives = true,
	.usage = "file:/PATH[,size=SIZE]  a new file, or one without a name in a directory",
	.open = file_open,
};
