/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of settings: [section], key = value, and lines that begin with # or ;.
 * Reading knows no key; who asked for the file holds each entry against its
 * table of options, and says what is wrong with config_wrong().
 *
 * A file is read only if it is an ordinary one that belongs to root or to this
 * user, and that nobody else may write to: what it says is done with this
 * user's rights.
 */
#ifndef RMEM_COMMON_CONFIG_H
#define RMEM_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_MAX_BYTES   65536U
#define CONFIG_LINE_CHARS  198 /* libinih's buffer, without its end */
#define CONFIG_MAX_ENTRIES 1024U

struct config_entry {
	char *section, *key, *value;
	unsigned int line; /* from 1 */
};

struct config_file {
	char *path;
	struct config_entry *entry;
	size_t nr;
};

/* 0 and returns owned; -ENOENT when there is no such file; else -errno. All with err
 * text that begins with the path. config_free() it in any case. */
int config_read(const char *path, struct config_file *out) __attribute__((warn_unused_result));
void config_free(struct config_file *f);

/* err text "PATH:LINE: KEY: WHY"; @why may be the err text itself. Returns @err. */
int config_wrong(const struct config_file *f, const struct config_entry *e, int err,
		 const char *why);

/* yes or no; -EINVAL with err text. */
int config_parse_bool(const char *text, bool *out) __attribute__((warn_unused_result));

#endif
