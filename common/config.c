/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"

/* What libinih reads from and tells. */
struct reading {
	struct config_file *file;
	const char *at, *end;
	unsigned int line;
	int err;
	bool has_ended; /* libinih has been told so: after an error */
};

static int wrong_line(struct reading *r, const char *what)
{
	if (!r->err)
		r->err = err_set(-EINVAL, "%s:%u: %s", r->file->path, r->line, what);
	return r->err;
}

static bool is_text(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)line[i] < ' ' && line[i] != '\t' && line[i] != '\r') ||
		    line[i] == 0x7f)
			return false;
	return true;
}

/*
 * As fgets(), a line a call. Lines are counted here, since libinih tells no
 * numbers; without indent, which would make a line part of the one before;
 * and what libinih would cut is refused.
 */
static char *next_line(char *buf, int buf_bytes, void *stream)
{
	struct reading *r = stream;
	const char *start = r->at, *end;
	size_t len;

	if (r->err || r->at == r->end)
		return NULL;
	end = memchr(start, '\n', (size_t)(r->end - start));
	r->at = end ? end + 1 : r->end;
	end = end ? end : r->end;
	r->line++;
	while (start < end && (*start == ' ' || *start == '\t'))
		start++;
	len = (size_t)(end - start);
	if (len > CONFIG_LINE_CHARS || len + 2 > (size_t)buf_bytes)
		wrong_line(r, "is longer than 198 characters");
	else if (!is_text(start, len))
		wrong_line(r, "is not text");
	if (r->err)
		return NULL;
	memcpy(buf, start, len);
	memcpy(buf + len, "\n", 2);
	return buf;
}

static int take_entry(void *ctx, const char *section, const char *key, const char *value)
{
	struct reading *r = ctx;
	struct config_entry *e = &r->file->entry[r->file->nr];

	if (r->err)
		return 0;
	if (r->file->nr == CONFIG_MAX_ENTRIES) {
		wrong_line(r, "is one value too many");
		return 0;
	}
	r->file->nr++;
	e->line = r->line;
	e->section = strdup(section);
	e->key = strdup(key);
	e->value = strdup(value);
	if (!e->section || !e->key || !e->value)
		r->err = err_set(-ENOMEM, "%s: out of memory", r->file->path);
	return !r->err;
}

static int parse(struct config_file *f, const char *text, size_t bytes)
{
	struct reading r = {.file = f, .at = text, .end = text + bytes};
	int line = ini_parse_stream(next_line, &r, take_entry, &r);

	/* The first line that libinih could not read comes before anything of ours
	 * that came later; line is 0 if there is none, and ours if take_entry() refused. */
	if (line > 0 && (!r.err || (unsigned int)line < r.line)) {
		r.line = (unsigned int)line;
		r.err = 0;
		return wrong_line(&r, "is neither [section] nor key = value");
	}
	if (line < 0 && !r.err)
		return err_set(-ENOMEM, "%s: out of memory", f->path);
	return r.err;
}

static int check_owner(const char *path, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return err_set(-EINVAL, "%s: is not an ordinary file", path);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return err_set(-EPERM,
			       "%s: belongs to another user (%u), and is not read: it must be "
			       "root's or yours",
			       path, st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(-EPERM, "%s: others may write to it, and it is not read: chmod go-w",
			       path);
	if (st->st_size > (off_t)CONFIG_MAX_BYTES)
		return err_set(-EFBIG, "%s: is larger than 64 KiB", path);
	return 0;
}

static int read_all(const char *path, int fd, char *buf, size_t *bytes)
{
	struct stat st;
	ssize_t n = 1;
	int err = fstat(fd, &st) ? -errno : check_owner(path, &st);

	for (*bytes = 0; !err && n && *bytes < CONFIG_MAX_BYTES; *bytes += (size_t)n) {
		n = read(fd, buf + *bytes, CONFIG_MAX_BYTES - *bytes);
		if (n < 0)
			return err_set(-errno, "%s: %s", path, strerror(errno));
	}
	return err;
}

int config_read(const char *path, struct config_file *out)
{
	/* A pipe that nobody writes to must not hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err;
	char *buf;
	size_t bytes = 0;

	*out = (struct config_file){.path = NULL};
	if (fd < 0)
		return err_set(-errno, "%s: %s", path, strerror(errno));
	buf = malloc(CONFIG_MAX_BYTES);
	out->path = strdup(path);
	out->entry = calloc(CONFIG_MAX_ENTRIES, sizeof(*out->entry));
	if (!buf || !out->path || !out->entry)
		err = err_set(-ENOMEM, "%s: out of memory", path);
	else
		err = read_all(path, fd, buf, &bytes);
	close(fd);
	if (!err)
		err = parse(out, buf, bytes);
	free(buf);
	return err;
}

void config_free(struct config_file *f)
{
	for (size_t i = 0; i < f->nr; i++) {
		free(f->entry[i].section);
		free(f->entry[i].key);
		free(f->entry[i].value);
	}
	free(f->entry);
	free(f->path);
	*f = (struct config_file){.path = NULL};
}

int config_wrong(const struct config_file *f, const struct config_entry *e, int err,
		 const char *why)
{
	return err_set(err, "%s:%u: %.60s: %s", f->path, e->line, e->key, why);
}

int config_parse_bool(const char *text, bool *out)
{
	*out = !strcmp(text, "yes");
	if (*out || !strcmp(text, "no"))
		return 0;
	return err_set(-EINVAL, "'%.40s' is neither yes nor no", text);
}
