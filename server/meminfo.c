/* SPDX-License-Identifier: Apache-2.0 */
#include "server/meminfo.h"

#include <errno.h>
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/units.h"

int meminfo_read(uint64_t *total_bytes, uint64_t *available_bytes)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	char line[128];

	*total_bytes = 0;
	*available_bytes = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			*total_bytes = KIB(kib);
		else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			*available_bytes = KIB(kib);
	}
	if (f)
		fclose(f);
	if (!*total_bytes || !*available_bytes)
		return err_set(-ENODATA, "can't read /proc/meminfo: is /proc mounted?");
	return 0;
}
