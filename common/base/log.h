/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: a sentence and key=value pairs. Written by a sink: stderr with a
 * "rmem: " prefix by default; the pager's sink hands them to the supervisor,
 * because a pager that writes to anything the job can see may wait for itself.
 * At most 100 lines a second leave; the rest is counted and said once.
 */
#ifndef RMEM_BASE_LOG_H
#define RMEM_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

typedef void log_sink_fn(void *ctx, enum log_level level, const char *line);

/* Lines above @level are dropped. Default: LOG_LEVEL_WARN. */
void log_set_level(enum log_level level);

/* 0 or -EINVAL; names: error warn info debug. */
int log_parse_level(const char *name, enum log_level *out);

/* NULL restores stderr. @prefix of the stderr sink (default "rmem: "), borrowed. */
void log_set_sink(log_sink_fn *fn, void *ctx);
void log_set_prefix(const char *prefix);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
