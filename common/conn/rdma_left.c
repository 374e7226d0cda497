/* SPDX-License-Identifier: Apache-2.0 */
/* conn rdma: what a process left that shared its descriptors with this one, and died. */
#include "common/conn/rdma.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_of_device(int fd)
{
	char path[64], to[128];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, to, sizeof(to) - 1);
	to[n > 0 ? n : 0] = '\0';
	return !strncmp(to, "/dev/infiniband/", strlen("/dev/infiniband/")) ||
	       !strcmp(to, "anon_inode:[infinibandevent]");
}

unsigned int verbs_left(int *fd, unsigned int max)
{
	unsigned int nr = 0;
	struct dirent *e;
	DIR *dir = opendir("/proc/self/fd");

	while (dir && nr < max && (e = readdir(dir)))
		if (e->d_name[0] != '.' && is_of_device(atoi(e->d_name)))
			fd[nr++] = atoi(e->d_name);
	if (dir)
		closedir(dir);
	return nr;
}
