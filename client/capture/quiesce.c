/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/quiesce.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "client/capture/look.h"
#include "client/capture/proc.h"
#include "client/capture/ptrace.h"

#define STOP_MS 100U

static int pass(pid_t tid)
{
	struct tracee t = {.tid = tid, .deadline_ns = tracee_now_ns() + STOP_MS * 1000000ULL};
	int err = tracee_stop(&t, STOP_MS);

	if (!err)
		err = tracee_release(&t);
	if (err == -ESRCH)
		return 0; /* ended: in no call any more */
	return err ? -EAGAIN : 0;
}

struct round {
	pid_t pid;
	int ret;
};

static void *look_at_all(void *arg)
{
	struct round *l = arg;
	pid_t *tids = NULL;
	size_t nr = 0;

	l->ret = proc_tids(l->pid, &tids, &nr);
	for (size_t i = 0; !l->ret && i < nr; i++) {
		long call = -1;
		enum look at = look_at_thread(l->pid, tids[i], &call);

		if (at == LOOK_RUNNING)
			l->ret = pass(tids[i]);
		else if (at == LOOK_UNKNOWN || call == SYS_madvise || call == SYS_process_madvise)
			l->ret = -EAGAIN;
	}
	free(tids);
	return NULL;
}

int quiesce_process(pid_t pid)
{
	struct round l = {.pid = pid};
	pthread_t thread;

	/* Whatever ptrace still holds is let go with the thread. */
	if (pthread_create(&thread, NULL, look_at_all, &l))
		return -EAGAIN;
	pthread_join(thread, NULL);
	return l.ret;
}
