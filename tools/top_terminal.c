/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_terminal: the view on a terminal, and the keys. The only file that knows
 * ncurses. Whatever ends it, a signal as well, the terminal is as it was.
 */
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/sampler.h"
#include "tools/top.h"

#define KEY_ESCAPE 27
#define ESCAPE_MS  50 /* what follows the Esc of an arrow key comes at once */

static volatile sig_atomic_t ended_by;

static void on_signal(int sig)
{
	ended_by = sig;
}

static void catch_signals(void)
{
	const struct sigaction sa = {.sa_handler = on_signal}; /* no SA_RESTART: poll() ends */

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGQUIT, &sa, NULL);
}

/* ---- drawing ---- */

static const struct {
	short pair, colour;
	attr_t attr;
} look[] = {
	[TONE_PLAIN] = {0, 0, A_NORMAL},
	[TONE_BOLD] = {0, 0, A_BOLD},
	[TONE_DIM] = {0, 0, A_DIM},
	[TONE_GOOD] = {1, COLOR_GREEN, A_NORMAL},
	[TONE_WARN] = {2, COLOR_YELLOW, A_NORMAL},
	[TONE_BAD] = {3, COLOR_RED, A_BOLD},
	[TONE_HEAD] = {0, 0, A_REVERSE},
	[TONE_SORT] = {0, 0, A_REVERSE | A_BOLD | A_UNDERLINE},
	[TONE_SELECTED] = {0, 0, A_REVERSE},
};

static void open_colours(void)
{
	const char *no = getenv("NO_COLOR");

	if ((no && *no) || !has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	for (size_t i = 0; i < sizeof(look) / sizeof(look[0]); i++)
		if (look[i].pair)
			init_pair(look[i].pair, look[i].colour, -1);
}

static void draw_line(int y, const struct line *l)
{
	move(y, 0);
	for (unsigned int i = 0; i < l->nr_spans; i++) {
		const struct span *s = &l->span[i];
		enum tone tone = l->selected ? TONE_SELECTED : s->tone;

		attr_set(look[tone].attr, look[tone].pair, NULL);
		addnstr(l->text + s->at, (int)s->bytes);
	}
	attr_set(A_NORMAL, 0, NULL);
	clrtoeol();
}

/* ncurses sends what has changed, nothing else. */
static void draw(struct top *t)
{
	t->view.rows = (unsigned int)LINES;
	t->view.cols = (unsigned int)COLS;
	t->view.time = time(NULL);
	view_draw(&t->view, &t->watch, &t->screen);
	for (int y = 0; y < LINES && (size_t)y < t->screen.nr; y++)
		draw_line(y, &t->screen.line[y]);
	if ((int)t->screen.nr < LINES) {
		move((int)t->screen.nr, 0);
		clrtobot();
	}
	refresh();
}

/* ---- keys ---- */

static void type(struct view *v, int key)
{
	size_t at = strlen(v->filter);

	if (key == KEY_ESCAPE)
		v->filter[0] = '\0';
	if (key == KEY_ESCAPE || key == '\n' || key == '\r' || key == KEY_ENTER) {
		v->typing = false;
	} else if (key == KEY_BACKSPACE || key == 127 || key == '\b') {
		while (at && ((unsigned char)v->filter[--at] & 0xc0) == 0x80)
			;
		v->filter[at] = '\0';
	} else if (key == ('u' & 0x1f)) {
		v->filter[0] = '\0';
	} else if (key >= ' ' && key < 0x100 && at + 1 < sizeof(v->filter)) {
		v->filter[at] = (char)key;
		v->filter[at + 1] = '\0';
	}
}

static void go(struct top *t, int key)
{
	long page = LINES / 2;

	switch (key) {
	case KEY_UP:
	case 'k':
		view_move(&t->view, &t->watch, -1);
		break;
	case KEY_DOWN:
	case 'j':
		view_move(&t->view, &t->watch, 1);
		break;
	case KEY_PPAGE:
		view_move(&t->view, &t->watch, -page);
		break;
	case KEY_NPAGE:
		view_move(&t->view, &t->watch, page);
		break;
	case KEY_HOME:
		view_move(&t->view, &t->watch, -(1L << 30));
		break;
	case KEY_END:
		view_move(&t->view, &t->watch, 1L << 30);
		break;
	default:
		break;
	}
}

static void change(struct view *v, int key)
{
	switch (key) {
	case 's':
	case '>':
		v->sort = (v->sort + 1) % VIEW_SORTS;
		break;
	case 'S':
	case '<':
		v->sort = (v->sort + VIEW_SORTS - 1) % VIEW_SORTS;
		break;
	case 'F':
	case 'f':
	case '/':
	case KEY_F(4):
		v->typing = true;
		break;
	case KEY_ESCAPE:
		v->filter[0] = '\0';
		break;
	case 'p':
	case ' ':
		v->paused = !v->paused;
		break;
	case 'h':
	case '?':
	case KEY_F(1):
		v->help = true;
		break;
	default:
		break;
	}
}

/* True: quit. */
static bool press(struct top *t, int key)
{
	if (key == KEY_RESIZE)
		return false;
	if (t->view.typing) {
		type(&t->view, key);
		return false;
	}
	if (key == 'q' || key == KEY_F(10))
		return true;
	if (t->view.help) {
		t->view.help = false;
		return false;
	}
	change(&t->view, key);
	go(t, key);
	return false;
}

/* Waits for a key until @until_ns. True: quit, or the terminal is gone. */
static bool wait_for_keys(struct top *t, uint64_t until_ns)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	uint64_t now = sampler_now_ns();
	int ms = until_ns > now ? (int)((until_ns - now + 999999) / 1000000) : 0;
	bool quit = false;
	int key;

	poll(&p, 1, ms); /* a change of size ends it too */
	if (p.revents & (POLLERR | POLLHUP | POLLNVAL))
		return true;
	while (!quit && (key = getch()) != ERR)
		quit = press(t, key);
	return quit;
}

/* ---- */

static int loop(struct top *t)
{
	uint64_t next_ns = sampler_now_ns(), looks = 0;
	int err = 0;

	for (;;) {
		uint64_t now = sampler_now_ns();

		if (now >= next_ns) {
			if (!t->view.paused) {
				err = sampler_look(&t->watch, t->only);
				looks++;
			}
			next_ns += t->view.delay_ms * 1000000;
			if (next_ns < now) /* it was stopped for a while */
				next_ns = now + t->view.delay_ms * 1000000;
		}
		if (err)
			return err;
		draw(t);
		if (wait_for_keys(t, next_ns) || ended_by || (t->count && looks > t->count))
			return 0;
	}
}

int top_terminal(struct top *t)
{
	SCREEN *term;
	int err;

	catch_signals(); /* before ncurses installs handlers that exit */
	term = newterm(NULL, stdout, stdin);
	if (!term)
		return cli_refuse("top", "ncurses knows no terminal '%s': set TERM, or use -b",
				  getenv("TERM") ? getenv("TERM") : "");
	set_escdelay(ESCAPE_MS);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	open_colours();
	err = loop(t);
	endwin();
	delscreen(term);
	if (err)
		return cli_refuse("top", "%s", err_text(err));
	if (ended_by && ended_by != SIGINT) { /* as if it had not been caught */
		signal(ended_by, SIG_DFL);
		raise(ended_by);
	}
	return 0;
}
