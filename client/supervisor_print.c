/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_print: the printing thread and its queue. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/supervisor_print.h"

#define QUEUE_LINES 256U

struct line {
	struct line *next;
	int fd;
	char text[];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more, empty;
	struct line *head, **tail;
	unsigned int nr, dropped;
	bool threaded, writing;
} queue = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.empty = PTHREAD_COND_INITIALIZER,
	.tail = &queue.head,
};

static void write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		left -= (size_t)n;
	}
}

static void *printer(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&queue.lock);
	for (;;) {
		struct line *l = queue.head;

		if (!l) {
			queue.writing = false;
			pthread_cond_broadcast(&queue.empty);
			pthread_cond_wait(&queue.more, &queue.lock);
			continue;
		}
		queue.head = l->next;
		if (!queue.head)
			queue.tail = &queue.head;
		queue.nr--;
		queue.writing = true;
		pthread_mutex_unlock(&queue.lock);
		write_all(l->fd, l->text);
		free(l);
		pthread_mutex_lock(&queue.lock);
	}
	return NULL;
}

void print_open(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, printer, NULL))
		return;
	pthread_detach(t);
	queue.threaded = true;
}

void print_close(unsigned int timeout_ms)
{
	struct timespec end;

	if (!queue.threaded)
		return;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&queue.lock);
	while (queue.head || queue.writing)
		if (pthread_cond_timedwait(&queue.empty, &queue.lock, &end))
			break;
	pthread_mutex_unlock(&queue.lock);
}

static struct line *line_new(int fd, const char *text)
{
	size_t bytes = strlen(text) + 1;
	struct line *l = malloc(sizeof(*l) + bytes);

	if (!l)
		return NULL;
	l->next = NULL;
	l->fd = fd;
	memcpy(l->text, text, bytes);
	return l;
}

/* Called with the lock held. */
static void enqueue(int fd, const char *text)
{
	struct line *l = line_new(fd, text);

	if (!l)
		return;
	*queue.tail = l;
	queue.tail = &l->next;
	queue.nr++;
	pthread_cond_signal(&queue.more);
}

void print_text(int fd, const char *line)
{
	char text[64];

	if (!queue.threaded) {
		write_all(fd, line);
		return;
	}
	pthread_mutex_lock(&queue.lock);
	if (queue.nr >= QUEUE_LINES) {
		queue.dropped++;
	} else {
		if (queue.dropped) {
			snprintf(text, sizeof(text), "rmem: %u lines were not printed\n",
				 queue.dropped);
			enqueue(STDERR_FILENO, text);
			queue.dropped = 0;
		}
		enqueue(fd, line);
	}
	pthread_mutex_unlock(&queue.lock);
}

/* Length of the printable character at @s, 0 when it has to be escaped. */
static size_t printable_bytes(const unsigned char *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (len == 1)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (len == 0 || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (s[0] == 0xc2 && s[1] < 0xa0) /* control characters of ISO 6429 */
		return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

const char *print_escape(char *buf, size_t buf_bytes, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t at = 0;

	while (*s && at + 5 < buf_bytes) {
		size_t len = printable_bytes(s);

		if (len) {
			memcpy(buf + at, s, len);
			at += len;
			s += len;
		} else {
			at += (size_t)snprintf(buf + at, 5, "\\x%02x", *s++);
		}
	}
	buf[at] = '\0';
	return buf;
}

void print_line(const char *fmt, ...)
{
	char raw[1024], text[2048] = "rmem: ";
	size_t at = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	print_escape(text + at, sizeof(text) - at - 1, raw);
	strcat(text, "\n");
	print_text(STDERR_FILENO, text);
}
