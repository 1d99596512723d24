#pragma once
/* One line per event on stderr: "12:00:01.204 info nc instance.started req=7f3a acct=000012 k=v".
 * A stable event name, then key=value; values that hold spaces or controls are quoted and escaped.
 * Under systemd (JOURNAL_STREAM set) the time is left out and a <N> priority prefix is written. */
#include <stdbool.h>
#include "base/alloc.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log { /* the context: copied by value, strings borrowed for its life */
	const char *daemon;
	const char *request_id; /* NULL: none */
	const char *account_id; /* NULL: none */
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_level_from_string(const char *s, enum log_level *ret);
const char *log_level_to_string(enum log_level level);

void log_event(const struct log *log, enum log_level level, const char *event, const char *format,
    ...) _printf_(4, 5);
#define log_error(log, event, ...) log_event(log, LOG_ERROR, event, __VA_ARGS__)
#define log_warn(log, event, ...) log_event(log, LOG_WARN, event, __VA_ARGS__)
#define log_info(log, event, ...) log_event(log, LOG_INFO, event, __VA_ARGS__)
#define log_debug(log, event, ...)                                                                 \
	do {                                                                                       \
		if (log_get_level() >= LOG_DEBUG)                                                  \
			log_event(log, LOG_DEBUG, event, __VA_ARGS__);                             \
	} while (0)
