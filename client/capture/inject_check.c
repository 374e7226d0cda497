/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/capture/inject.h"

#define UFFD_LINK "anon_inode:[userfaultfd]"

static enum inject_refusal refusal_of_errno(int err)
{
	if (err == ENOENT || err == ESRCH)
		return REFUSE_GONE;
	return err == EACCES || err == EPERM ? REFUSE_PERMISSION : REFUSE_OTHER;
}

static enum inject_refusal check_status(pid_t pid)
{
	enum inject_refusal why = REFUSE_NONE;
	char path[64], line[256];
	int value;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return refusal_of_errno(errno);
	while (why == REFUSE_NONE && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "TracerPid: %d", &value) == 1 && value)
			why = REFUSE_TRACED;
		else if (sscanf(line, "Seccomp: %d", &value) == 1 && value)
			why = REFUSE_SECCOMP;
		else if (!strncmp(line, "State:\tZ", strlen("State:\tZ")) ||
			 !strncmp(line, "State:\tX", strlen("State:\tX")))
			why = REFUSE_GONE;
	}
	fclose(f);
	return why;
}

static enum inject_refusal check_elf(pid_t pid)
{
	unsigned char ident[EI_NIDENT];
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return refusal_of_errno(errno);
	n = read(fd, ident, sizeof(ident));
	close(fd);
	if (n != (ssize_t)sizeof(ident) || memcmp(ident, ELFMAG, SELFMAG) != 0)
		return REFUSE_OTHER;
	return ident[EI_CLASS] == ELFCLASS64 ? REFUSE_NONE : REFUSE_32BIT;
}

static enum inject_refusal check_descriptors(pid_t pid)
{
	enum inject_refusal why = REFUSE_NONE;
	char path[64], link[64];
	struct dirent *e;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	if (!d)
		return refusal_of_errno(errno);
	while (why == REFUSE_NONE && (e = readdir(d))) {
		n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		if (n == (ssize_t)strlen(UFFD_LINK) && !memcmp(link, UFFD_LINK, (size_t)n))
			why = REFUSE_USERFAULTFD;
	}
	closedir(d);
	return why;
}

enum inject_refusal inject_check(pid_t pid)
{
	enum inject_refusal why;

	why = check_status(pid);
	if (why == REFUSE_NONE)
		why = check_elf(pid);
	if (why == REFUSE_NONE)
		why = check_descriptors(pid);
	return why;
}

const char *inject_refusal_text(enum inject_refusal why)
{
	static const char *const text[] = {
		[REFUSE_NONE] = "managed",
		[REFUSE_SECCOMP] = "runs under seccomp",
		[REFUSE_TRACED] = "is under a debugger",
		[REFUSE_32BIT] = "is not a 64-bit program",
		[REFUSE_USERFAULTFD] = "uses userfaultfd itself",
		[REFUSE_PERMISSION] = "rmem lacks the permission",
		[REFUSE_LIMIT] = "is at a limit of its own",
		[REFUSE_GONE] = "has ended",
		[REFUSE_STUCK] = "could not be stopped",
		[REFUSE_OTHER] = "can't be entered",
	};

	return (size_t)why < sizeof(text) / sizeof(text[0]) ? text[why] : "?";
}
