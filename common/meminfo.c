/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/meminfo.h"

/* The files of a group, by version. In v1 only the names with total_ count the groups below. */
static const struct files {
	const char *limit[2], *usage, *inactive, *active, *events, *met;
} files[] = {
	{{"memory.limit_in_bytes", NULL},
	 "memory.usage_in_bytes",
	 "total_inactive_file ",
	 "total_active_file ",
	 "memory.failcnt",
	 ""},
	{{"memory.max", "memory.high"},
	 "memory.current",
	 "inactive_file ",
	 "active_file ",
	 "memory.events",
	 "max "},
};

/* ---- one file ---- */

/* The sum of the numbers in all lines of @path that begin with @name. False: there are none. */
static bool read_numbers(const char *path, const char *name, uint64_t *out)
{
	size_t len = strlen(name);
	char line[256], *end;
	bool found = false;
	FILE *f = fopen(path, "re");

	*out = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, len))
			continue;
		*out += strtoull(line + len, &end, 10);
		found = found || end != line + len; /* "max" is no number */
	}
	if (f)
		fclose(f);
	return found;
}

static bool read_of_group(const char *dir, const char *file, const char *name, uint64_t *out)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return read_numbers(path, name, out);
}

/* ---- where the group is ---- */

/* The path of the group within its hierarchy, of "ID:CONTROLLERS:PATH". */
static bool path_in_hierarchy(const char *line, bool v2, const char **out)
{
	const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

	if (!path)
		return false;
	*out = path + 1;
	if (v2)
		return path == names + 1;
	for (const char *at = names + 1; at < path; at += strcspn(at, ",:") + 1)
		if (!strncmp(at, "memory", 6) && (at[6] == ',' || at[6] == ':'))
			return true;
	return false;
}

static bool find_path(pid_t pid, bool v2, char *out, size_t size)
{
	char name[32], line[PATH_MAX + 64];
	const char *path;
	bool found = false;
	FILE *f;

	snprintf(name, sizeof(name), pid ? "/proc/%d/cgroup" : "/proc/self/cgroup", (int)pid);
	f = fopen(name, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		found = path_in_hierarchy(line, v2, &path);
		if (found)
			snprintf(out, size, "%s", path);
	}
	if (f)
		fclose(f);
	return found;
}

/* Of a line of mountinfo: is it such a hierarchy, which part of it is mounted, and where?
 * "36 35 98:0 ROOT POINT OPTIONS ... - TYPE SOURCE SUPEROPTIONS" */
static bool is_mount(char *line, bool v2, char **root, char **point)
{
	char *type = strstr(line, " - "), *save, *options;

	if (!type)
		return false;
	*type = 0;
	type = strtok_r(type + 3, " \n", &save);
	strtok_r(NULL, " \n", &save);
	options = strtok_r(NULL, " \n", &save);
	if (!type || strcmp(type, v2 ? "cgroup2" : "cgroup"))
		return false;
	if (!v2 && (!options || !strstr(options, "memory")))
		return false;
	strtok_r(line, " ", &save);
	for (int i = 0; i < 2; i++)
		strtok_r(NULL, " ", &save);
	*root = strtok_r(NULL, " ", &save);
	*point = strtok_r(NULL, " ", &save);
	return *root && *point;
}

/* In a container the path may be told from outside it, beginning with what is mounted. */
static bool join(struct memgroup *g, const char *root, const char *point, const char *path)
{
	size_t len = strcmp(root, "/") ? strlen(root) : 0;
	int n;

	if (len && !strncmp(path, root, len) && (!path[len] || path[len] == '/'))
		path += len;
	if (!strncmp(path, "/..", 3)) /* outside of what is to be seen */
		path = "";
	n = snprintf(g->path, sizeof(g->path), "%s%s", point, strcmp(path, "/") ? path : "");
	g->root = strlen(point);
	if (n < (int)sizeof(g->path))
		return true;
	g->path[0] = 0;
	return false;
}

static bool find(struct memgroup *g, pid_t pid, bool v2)
{
	char path[PATH_MAX], line[2 * PATH_MAX], *root, *point;
	bool found = false;
	FILE *f;

	g->v2 = v2;
	if (!find_path(pid, v2, path, sizeof(path)))
		return false;
	f = fopen("/proc/self/mountinfo", "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = is_mount(line, v2, &root, &point) && join(g, root, point, path);
	if (f)
		fclose(f);
	return found;
}

void memgroup_find(struct memgroup *g, pid_t pid)
{
	*g = (struct memgroup){0};
	if (!find(g, pid, false) && !find(g, pid, true))
		g->path[0] = 0;
}

/* ---- what is there ---- */

/* Calls @one with the group's folder and those of all groups around it. */
static void for_each_level(const struct memgroup *g, void (*one)(const char *, bool, void *),
			   void *ctx)
{
	char dir[PATH_MAX];
	size_t len = strlen(g->path);

	memcpy(dir, g->path, len + 1);
	while (len) {
		one(dir, g->v2, ctx);
		if (len <= g->root)
			return;
		while (len > g->root && dir[len - 1] != '/')
			len--;
		len -= len > g->root;
		dir[len] = 0;
	}
}

/* As the kernel reckons MemAvailable: half of what is in use of the page cache can go. */
static void bound(const char *dir, bool v2, void *ctx)
{
	const struct files *f = &files[v2];
	struct meminfo *m = ctx;
	uint64_t limit = UINT64_MAX, x, used, inactive, active, left;

	for (int i = 0; i < 2; i++)
		if (f->limit[i] && read_of_group(dir, f->limit[i], "", &x) && x < limit)
			limit = x;
	if (limit == UINT64_MAX || !read_of_group(dir, f->usage, "", &used))
		return;
	read_of_group(dir, "memory.stat", f->inactive, &inactive);
	read_of_group(dir, "memory.stat", f->active, &active);
	used -= inactive + active / 2 < used ? inactive + active / 2 : used;
	left = limit > used ? limit - used : 0;
	if (limit < m->total_bytes) {
		m->total_bytes = limit;
		m->limited = true;
	}
	if (left < m->available_bytes)
		m->available_bytes = left;
}

int meminfo_read(const struct memgroup *g, struct meminfo *out)
{
	uint64_t kib[3];

	errno = 0;
	if (!read_numbers("/proc/meminfo", "MemTotal:", &kib[0]) ||
	    !read_numbers("/proc/meminfo", "MemAvailable:", &kib[1]))
		return errno && errno != ENOENT
			       ? err_set(-errno, "/proc/meminfo: %s", strerror(errno))
			       : err_set(-ENODATA,
					 "/proc/meminfo: no MemTotal or MemAvailable: mount /proc");
	read_numbers("/proc/meminfo", "SwapTotal:", &kib[2]);
	*out = (struct meminfo){.total_bytes = kib[0] << 10,
				.available_bytes = kib[1] << 10,
				.swap_bytes = kib[2] << 10};
	for_each_level(g, bound, out);
	return 0;
}

int meminfo_mine(struct meminfo *out)
{
	struct memgroup g;

	memgroup_find(&g, 0);
	return meminfo_read(&g, out);
}

static void count_met(const char *dir, bool v2, void *ctx)
{
	uint64_t *sum = ctx, x;

	read_of_group(dir, files[v2].events, files[v2].met, &x);
	*sum += x;
}

void memstalls_read(const struct memgroup *g, struct memstalls *out)
{
	static const char *const zones[] = {"allocstall_normal ", "allocstall_movable "};
	char line[128], *total;
	FILE *f = fopen("/proc/pressure/memory", "re");
	uint64_t x;

	*out = (struct memstalls){0};
	for (int i = 0; i < 2; i++) {
		read_numbers("/proc/vmstat", zones[i], &x);
		out->reclaims += x;
	}
	for_each_level(g, count_met, &out->reclaims);
	if (f && fgets(line, sizeof(line), f) && (total = strstr(line, "total=")))
		out->waited_us = strtoull(total + 6, NULL, 10);
	if (f)
		fclose(f);
}
