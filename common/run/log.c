/* One line per event, written with one write(2), so that lines of threads and processes never mix.
 * The format is walked here rather than handed to printf whole: that is how a value that came from
 * outside is told from the text of the program, and quoted and escaped when it could be mistaken
 * for it. */
#include "run/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define LINE_MAX_BYTES 8192

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const int level_priorities[] = { 3, 4, 6, 7 }; /* syslog's */

static _Atomic int current_level = LOG_INFO;

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level
log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool
log_level_from_string(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(s, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

const char *
log_level_to_string(enum log_level level)
{
	return level_names[level];
}

/* JOURNAL_STREAM names the device and inode of the journal's socket; it is inherited, so it says
 * something about us only while our stderr is that very socket. */
static bool
stderr_is_journal(void)
{
	static _Atomic int known = -1;
	int answer = atomic_load_explicit(&known, memory_order_relaxed);

	if (answer < 0) {
		const char *stream = getenv("JOURNAL_STREAM");
		unsigned long long device, inode;
		struct stat st;

		answer = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
			 fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device &&
			 st.st_ino == inode;
		atomic_store_explicit(&known, answer, memory_order_relaxed);
	}
	return answer > 0;
}

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static void
add_escaped(struct strbuf *out, struct str s, bool in_quotes)
{
	bool text = is_utf8(s);

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '\n')
			strbuf_adds(out, "\\n");
		else if (is_control(c) || (!text && (unsigned char)c >= 0x80))
			strbuf_addf(out, "\\x%02x", (unsigned char)c);
		else if (in_quotes && (c == '"' || c == '\\'))
			strbuf_addf(out, "\\%c", c);
		else
			strbuf_addc(out, c);
	}
}

static void
add_value(struct strbuf *out, struct str value)
{
	bool plain = value.n > 0 && is_utf8(value);

	for (size_t i = 0; plain && i < value.n; i++)
		plain = !is_control(value.p[i]) && !strchr(" \"=", value.p[i]);
	if (plain) {
		strbuf_addstr(out, value);
		return;
	}
	strbuf_addc(out, '"');
	add_escaped(out, value, true);
	strbuf_addc(out, '"');
}

enum length { LENGTH_INT, LENGTH_LONG, LENGTH_LONG_LONG, LENGTH_SIZE };

static const char *
parse_length(const char *p, enum length *ret)
{
	*ret = LENGTH_INT;
	while (*p == 'h') /* promoted to int */
		p++;
	if (*p == 'z' || *p == 't' || *p == 'j') {
		*ret = *p == 'j' ? LENGTH_LONG_LONG : LENGTH_SIZE;
		return p + 1;
	}
	for (; *p == 'l'; p++)
		*ret = *ret == LENGTH_INT ? LENGTH_LONG : LENGTH_LONG_LONG;
	return p;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void
add_integer(struct strbuf *out, const char *spec, enum length length, va_list *ap)
{
	switch (length) {
	case LENGTH_INT:
		strbuf_addf(out, spec, va_arg(*ap, int));
		break;
	case LENGTH_LONG:
		strbuf_addf(out, spec, va_arg(*ap, long));
		break;
	case LENGTH_LONG_LONG:
		strbuf_addf(out, spec, va_arg(*ap, long long));
		break;
	case LENGTH_SIZE:
		strbuf_addf(out, spec, va_arg(*ap, size_t));
		break;
	}
}

/* One conversion; `format` points behind the percent sign, the result behind the conversion. */
static const char *
add_conversion(struct strbuf *out, const char *format, int saved_errno, va_list *ap)
{
	_cleanup_strbuf_ struct strbuf spec = STRBUF_INIT;
	enum length length;
	const char *p = format;
	int precision = -1;

	for (; *p && strchr("-+ #0123456789.*", *p); p++) {
		bool after_dot = p > format && p[-1] == '.';

		if (*p != '*') {
			strbuf_addc(&spec, *p);
			continue;
		}
		precision = va_arg(*ap, int);
		if (!after_dot || precision >= 0)
			strbuf_addf(&spec, "%d", precision);
	}
	strbuf_add(&spec, p, (size_t)(parse_length(p, &length) - p));
	p = parse_length(p, &length);
	strbuf_addc(&spec, *p);
	_cleanup_free_ char *text = xasprintf("%%%s", strbuf_c(&spec));

	switch (*p) {
	case '%':
		strbuf_addc(out, '%');
		break;
	case 'm':
		strbuf_adds(out, strerrordesc_np(saved_errno));
		break;
	case 's': {
		const char *s = va_arg(*ap, const char *);
		strbuf_addf(out, text, s ? s : "-");
		break;
	}
	case 'p':
		strbuf_addf(out, text, va_arg(*ap, void *));
		break;
	case 'e':
	case 'f':
	case 'g':
		strbuf_addf(out, text, va_arg(*ap, double));
		break;
	default:
		assert(*p && strchr("cdiuxXo", *p));
		add_integer(out, text, length, ap);
	}
	return p + 1;
}
#pragma GCC diagnostic pop

/* The value behind "key=": up to the next space of the format, or, where the format opens a quote,
 * to the one that closes it. */
static const char *
add_pair_value(struct strbuf *out, const char *p, int saved_errno, va_list *ap)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
	char quote = *p == '"' || *p == '\'' ? *p++ : '\0';

	while (*p && *p != (quote ? quote : ' ')) {
		if (*p == '%')
			p = add_conversion(&value, p + 1, saved_errno, ap);
		else
			strbuf_addc(&value, *p++);
	}
	add_value(out, strbuf_str(&value));
	return quote && *p ? p + 1 : p;
}

static void
add_message(struct strbuf *out, const char *format, int saved_errno, va_list *ap)
{
	_cleanup_strbuf_ struct strbuf bare = STRBUF_INIT;
	const char *p = format;

	while (*p) {
		if (*p == '=') {
			strbuf_addc(out, '=');
			p = add_pair_value(out, p + 1, saved_errno, ap);
		} else if (*p == '%') {
			strbuf_reset(&bare);
			p = add_conversion(&bare, p + 1, saved_errno, ap);
			add_escaped(out, strbuf_str(&bare), false);
		} else {
			strbuf_addc(out, *p++);
		}
	}
}

static void
add_prefix(struct strbuf *out, const struct log *log, enum log_level level, const char *event)
{
	char now[TIME_TEXT_SIZE];

	if (stderr_is_journal()) {
		strbuf_addf(out, "<%d>", level_priorities[level]);
	} else {
		time_format_iso(clock_now_us(), now);
		strbuf_addf(out, "%.12s ", now + sizeof("2010-01-01T") - 1);
	}
	strbuf_addf(
	    out, "%s %s %s", level_names[level], log && log->daemon ? log->daemon : "-", event);
	if (log && log->request_id) {
		strbuf_adds(out, " req=");
		add_value(out, str_of(log->request_id));
	}
	if (log && log->account_id) {
		strbuf_adds(out, " acct=");
		add_value(out, str_of(log->account_id));
	}
}

static void
write_line(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return; /* nowhere left to say it */
		p += done;
		n -= (size_t)done;
	}
}

void
log_event(const struct log *log, enum log_level level, const char *event, const char *format, ...)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	int saved_errno = errno;
	va_list ap;

	if (level > log_get_level())
		return;
	add_prefix(&line, log, level, event);
	if (*format)
		strbuf_addc(&line, ' ');
	va_start(ap, format);
	add_message(&line, format, saved_errno, &ap);
	va_end(ap);
	if (line.n > LINE_MAX_BYTES) {
		line.n = LINE_MAX_BYTES;
		strbuf_adds(&line, "...");
	}
	strbuf_addc(&line, '\n');
	write_line(line.p, line.n);
	errno = saved_errno;
}
