/* SPDX-License-Identifier: Apache-2.0 */
/* view_help: what the keys do and what the columns mean, on 80x24. */
#include "tools/watch/view.h"

static const char *const help[] = {
	" Keys (any key goes back)",
	"   up down PgUp PgDn Home End   select a row; the line at the bottom tells more",
	"   s S       sort by the next, the one before: size fault/s in/s out/s pid name",
	"   F         show only names and numbers with a text in them; Esc: all again",
	"   p space   pause, go on",
	"   q         quit",
	"",
	" Columns",
	"   LOCAL     memory on this machine; of a run with what is on its way (standby)",
	"   REMOTE    of a run: kept at the servers; of a process: not with it",
	"   FAULT/s   accesses that rmem answered",
	"   P50 P99   how long that took, in the last interval; of the run as a whole",
	"   IN/s      bytes fetched from the servers",
	"   OUT/s     bytes sent to them; zeros and clean copies are not sent",
	"   STATE     watched    small, or the cap is far: left alone",
	"             entering   an agent is being put in",
	"             managed    its memory can move",
	"             forked     has remote pages of its parent's, waits for an agent",
	"             vfork      runs in its parent's memory",
	"             unmanaged  can't be entered; select it to see why",
};

static bool is_title(const char *line)
{
	return line[0] && line[1] != ' ';
}

void view_draw_help(const struct view *v, struct screen *out)
{
	for (size_t i = 0; i < sizeof(help) / sizeof(help[0]); i++) {
		struct line *l;

		if (v->rows && out->nr == v->rows)
			return;
		l = screen_line(out);
		if (l)
			line_put(out, l, is_title(help[i]) ? TONE_BOLD : TONE_PLAIN, "%s", help[i]);
	}
}
