/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/meminfo.h"
#include "common/base/err.h"

int meminfo_read(struct meminfo *out)
{
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	memset(out, 0, sizeof(*out));
	if (!f)
		return err_set(-errno, "/proc/meminfo: %s: mount /proc", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		unsigned long long kib;

		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			out->total_bytes = kib << 10;
		else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			out->available_bytes = kib << 10;
		else if (sscanf(line, "SwapTotal: %llu kB", &kib) == 1)
			out->swap_bytes = kib << 10;
	}
	fclose(f);
	if (!out->total_bytes || !out->available_bytes)
		return err_set(-ENODATA, "/proc/meminfo: no MemTotal or MemAvailable");
	return 0;
}
