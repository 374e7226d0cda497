/* SPDX-License-Identifier: Apache-2.0 */
#include "client/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/err.h"

#define MAGIC	   0x314345524d454d52ULL /* "RMEMREC1" */
#define MOST_A_KEY 10U			 /* bytes of one difference */

struct head {
	uint64_t magic;
	uint64_t nr, bytes; /* faults, and what follows */
	uint64_t sum;	    /* of it: XXH3 */
};

struct record {
	uint8_t *buf; /* RECORD_MAX_BYTES of address space */
	size_t bytes;
	uint64_t nr, last;
	bool cut;
	int fd;
	char path[PATH_MAX], temp[PATH_MAX + 16];
};

static int temp_open(struct record *r)
{
	r->fd = open(r->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return r->fd < 0 ? -errno : 0;
}

static void temp_remove(struct record *r)
{
	if (r->fd < 0)
		return;
	close(r->fd);
	r->fd = -1;
	unlink(r->temp);
}

/* The file is made at the end, so that nothing stays behind whatever happens; that
 * it can be made is found out now. */
int record_create(const char *path, struct record **out)
{
	struct record *r = calloc(1, sizeof(*r));
	struct stat st;
	int err;

	if (!r)
		return err_set(-ENOMEM, "--record %s: out of memory", path);
	snprintf(r->path, sizeof(r->path), "%s", path);
	snprintf(r->temp, sizeof(r->temp), "%s.%d.tmp", path, (int)getpid());
	r->fd = -1;
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		record_close(r);
		return err_set(-EINVAL, "--record %s: is there and no file", path);
	}
	r->buf = mmap(NULL, RECORD_MAX_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->buf == MAP_FAILED)
		r->buf = NULL;
	err = r->buf ? temp_open(r) : -ENOMEM;
	if (err) {
		record_close(r);
		return err_set(err, "--record %s: can't be written: %s", path, strerror(-err));
	}
	temp_remove(r);
	*out = r;
	return 0;
}

void record_add(struct record *r, uint64_t key)
{
	int64_t diff = (int64_t)(key - r->last);
	uint64_t left = (uint64_t)diff << 1 ^ (uint64_t)(diff >> 63);

	if (r->bytes + MOST_A_KEY > RECORD_MAX_BYTES || r->nr == RECORD_MAX_FAULTS) {
		r->cut = true;
		return;
	}
	for (; left > 127; left >>= 7)
		r->buf[r->bytes++] = (uint8_t)(left | 128);
	r->buf[r->bytes++] = (uint8_t)left;
	r->last = key;
	r->nr++;
}

bool record_is_cut(const struct record *r)
{
	return r->cut;
}

static int write_all(int fd, const void *from, size_t bytes)
{
	const char *p = from;

	while (bytes) {
		ssize_t n = write(fd, p, bytes);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			bytes -= (size_t)n;
		}
	}
	return 0;
}

int record_write(struct record *r)
{
	const struct head h = {.magic = MAGIC,
			       .nr = r->nr,
			       .bytes = r->bytes,
			       .sum = XXH3_64bits(r->buf, r->bytes)};
	int err = temp_open(r);

	if (!err)
		err = write_all(r->fd, &h, sizeof(h));
	if (!err)
		err = write_all(r->fd, r->buf, r->bytes);
	if (!err && rename(r->temp, r->path))
		err = -errno;
	if (err) {
		temp_remove(r);
		return err_set(err, "--record %s: not written: %s", r->path, strerror(-err));
	}
	close(r->fd);
	r->fd = -1;
	return 0;
}

void record_close(struct record *r)
{
	if (!r)
		return;
	temp_remove(r);
	if (r->buf)
		munmap(r->buf, RECORD_MAX_BYTES);
	free(r);
}

/* ---- reading ---- */

static int decode(const uint8_t *at, const uint8_t *end, uint64_t *key, uint64_t nr)
{
	uint64_t last = 0;

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t v = 0;
		unsigned int shift = 0;

		do {
			if (at == end || shift > 63)
				return -EBADMSG;
			v |= (uint64_t)(*at & 127) << shift;
			shift += 7;
		} while (*at++ & 128);
		last += v >> 1 ^ -(v & 1);
		key[i] = last;
	}
	return at == end ? 0 : -EBADMSG;
}

static int parse(const char *path, const void *file, size_t bytes, uint64_t **key, uint32_t *nr)
{
	const uint8_t *body = (const uint8_t *)file + sizeof(struct head);
	struct head h = {0};

	if (bytes >= sizeof(h))
		memcpy(&h, file, sizeof(h));
	if (h.magic != MAGIC)
		return err_set(-EBADMSG, "--replay %s: is no recording of this version of rmem",
			       path);
	if (h.bytes != bytes - sizeof(h) || h.nr > h.bytes || h.nr > RECORD_MAX_FAULTS ||
	    h.sum != XXH3_64bits(body, h.bytes))
		return err_set(-EBADMSG, "--replay %s: is damaged: record it again", path);
	*key = malloc(h.nr * sizeof(**key) + 1);
	if (!*key)
		return err_set(-ENOMEM, "--replay %s: out of memory", path);
	*nr = (uint32_t)h.nr;
	if (!decode(body, body + h.bytes, *key, h.nr))
		return 0;
	free(*key);
	*key = NULL;
	return err_set(-EBADMSG, "--replay %s: is damaged: record it again", path);
}

int record_load(const char *path, uint64_t **key, uint32_t *nr)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err;
	struct stat st;
	void *file;

	if (fd < 0 || fstat(fd, &st)) {
		err = errno;
		if (fd >= 0)
			close(fd);
		return err_set(-err, "--replay %s: %s", path, strerror(err));
	}
	if (!S_ISREG(st.st_mode) || !st.st_size) {
		close(fd);
		return err_set(-EBADMSG, "--replay %s: is no recording of this version of rmem",
			       path);
	}
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	err = errno;
	close(fd);
	if (file == MAP_FAILED)
		return err_set(-err, "--replay %s: %s", path, strerror(err));
	err = parse(path, file, (size_t)st.st_size, key, nr);
	munmap(file, (size_t)st.st_size);
	return err;
}
