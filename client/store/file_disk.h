/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file behind store file: a new one, without a name as soon as it is open,
 * with all of its blocks reserved. Nothing that exists is ever written to, and
 * nothing is left behind, however rmem ends.
 */
#ifndef RMEM_STORE_FILE_DISK_H
#define RMEM_STORE_FILE_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct file_disk {
	int fd;
	bool is_direct; /* O_DIRECT; else the kernel buffers, and it was said */
};

/*
 * Makes a file of @bytes at @path, or without a name in @path when that is a
 * directory. 0; -errno with err text that says how much is missing.
 */
int file_disk_open(struct file_disk *d, const char *path, uint64_t bytes)
	__attribute__((warn_unused_result));

/* Goes on with @fd of one that was open. */
void file_disk_adopt(struct file_disk *d, int fd);

/* Accepts a closed one (fd -1). */
void file_disk_close(struct file_disk *d);

#endif
