/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_path: the same search as execvp(3), without executing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/supervisor_path.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"

#define PATH_DEFAULT "/bin:/usr/bin"

static int check_file(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == EACCES ? -EACCES : -ENOENT;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return -EACCES;
	return 0;
}

/* The first executable @name in PATH into @buf; else the kindest error. */
static int search(const char *name, char *buf, size_t buf_bytes)
{
	const char *dir = getenv("PATH");
	int err = -ENOENT;

	for (dir = dir ? dir : PATH_DEFAULT; dir; dir = strchr(dir, ':')) {
		size_t len;
		int one, n;

		dir += *dir == ':';
		len = strcspn(dir, ":");
		n = snprintf(buf, buf_bytes, "%.*s%s%s", (int)len, dir, len ? "/" : "", name);
		if (n < 0 || (size_t)n >= buf_bytes)
			continue;
		one = check_file(buf);
		if (!one)
			return 0;
		if (one == -EACCES)
			err = one;
		if (!dir[len])
			break;
	}
	return err;
}

int path_lookup(const char *name)
{
	char path[4096], shown[256];
	int err;

	if (!*name)
		err = -ENOENT;
	else if (strchr(name, '/'))
		err = check_file(name);
	else
		err = search(name, path, sizeof(path));
	print_escape(shown, sizeof(shown), name);
	if (err == -ENOENT)
		return err_set(err, "%s: command not found: %s", shown,
			       strchr(name, '/') ? "check the path"
						 : "install it, or give its path");
	if (err)
		return err_set(err, "%s: not an executable file: chmod +x it, or name a program",
			       shown);
	return 0;
}

int path_of_rmemd(char *buf, size_t buf_bytes)
{
	char own[3072];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	if (n > 0) {
		own[n] = '\0';
		slash = strrchr(own, '/');
		*(slash ? slash : own) = '\0';
		snprintf(buf, buf_bytes, "%s/rmemd", own);
		if (!check_file(buf))
			return 0;
	}
	if (!search("rmemd", buf, buf_bytes))
		return 0;
	return err_set(-ENOENT, "no --server named, and rmemd is neither beside rmem nor in PATH:"
				" install it, or name a --server");
}
