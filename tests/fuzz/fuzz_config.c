/* SPDX-License-Identifier: Apache-2.0 */
/* Files of settings. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/config.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
	static int fd = -1;
	static char path[32];
	struct config_file f;

	if (fd < 0) {
		fd = memfd_create("fuzz", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) || pwrite(fd, data, bytes, 0) != (ssize_t)bytes)
		abort();
	if (!config_read(path, &f) && f.nr > CONFIG_MAX_ENTRIES)
		abort();
	config_free(&f);
	return 0;
}
