/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_watchdog: a pager that is there and does nothing holds the job for ever, and
 * nobody hears of it. It counts its rounds, 20 a second at least; when the count has stood
 * still for ten seconds it is killed, and goes the way of all dead pagers.
 */
#include <signal.h>

#include "client/capture/proc.h"
#include "client/supervisor.h"
#include "client/supervisor_print.h"

#define HANG_MS 10000U
#define SEEN_MS 2000U /* a look stands for no more: this process may have been stopped, too */

/* By a debugger, and not by accident. */
static bool is_traced(pid_t pid)
{
	struct proc_stat st;

	return !proc_stat(pid, &st) && st.state == 't';
}

void watchdog_tick(struct supervisor *s)
{
	uint64_t beats = __atomic_load_n(&s->header->pager_beats, __ATOMIC_ACQUIRE);
	uint64_t now = supervisor_now_ms(), since = now - s->watch_ms;

	s->watch_ms = now;
	if (beats != s->watch_beats || !s->header->job_pid || !s->pager_pid) {
		s->watch_beats = beats;
		s->still_ms = 0;
		return;
	}
	s->still_ms += since < SEEN_MS ? since : SEEN_MS;
	if (s->still_ms < HANG_MS || is_traced(s->pager_pid))
		return;
	print_line("the pager has done nothing for 10 s: it is killed");
	s->still_ms = 0;
	kill(s->pager_pid, SIGKILL);
}
