/* The error value and the table of faults. Text is cut at the size of the struct rather than grown:
 * an error must be sayable when memory is short. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NO_RETRY, RETRY };

static const struct {
	const char *name;
	const char *code;
	int status;
	int retry;
} faults[FAULT_MAX] = {
#define FAULT(fault, http_status, wire, again)                                                     \
	[FAULT_##fault] = { #fault, wire, http_status, again },
#include "base/faults.def"
#undef FAULT
};

static void err_store(struct err *e, const char *file, int line, int code, int number,
    const char *format, va_list ap) __attribute__((format(printf, 6, 0)));

static void
err_store(
    struct err *e, const char *file, int line, int code, int number, const char *format, va_list ap)
{
	char text[sizeof(e->text)]; /* the arguments may point into e->text */

	(void)vsnprintf(text, sizeof(text), format, ap);
	memcpy(e->text, text, sizeof(text));
	e->code = code;
	e->number = number;
	e->file = file;
	e->line = line;
}

int
err_set_at(struct err *e, const char *file, int line, int code, const char *format, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, format);
	err_store(e, file, line, code, 0, format, ap);
	va_end(ap);
	return code;
}

/* As much of s as fits. */
static void
append(char *text, size_t size, const char *s)
{
	size_t n = strlen(text), more = strnlen(s, size - 1 - n);

	memcpy(text + n, s, more);
	text[n + more] = '\0';
}

static int
code_from_errno(int number)
{
	switch (number) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOMEM:
		return ERR_LIMIT;
	case ECONNREFUSED:
	case ECONNRESET:
	case ECONNABORTED:
	case EPIPE:
	case ENOTCONN:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
		return ERR_UNAVAILABLE;
	default:
		return ERR_IO;
	}
}

int
err_set_errno_at(struct err *e, const char *file, int line, int number, const char *format, ...)
{
	int code = code_from_errno(number);
	char reason[128];
	va_list ap;

	if (!e)
		return code;
	va_start(ap, format);
	err_store(e, file, line, code, number, format, ap);
	va_end(ap);
	append(e->text, sizeof(e->text), ": ");
	append(e->text, sizeof(e->text), strerror_r(number, reason, sizeof(reason)));
	return code;
}

int
err_wrap(struct err *e, const char *format, ...)
{
	char text[sizeof(e->text)];
	va_list ap;

	if (!e)
		return ERR_INTERNAL;
	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	append(text, sizeof(text), ": ");
	append(text, sizeof(text), e->text);
	memcpy(e->text, text, sizeof(text));
	return e->code;
}

void
err_clear(struct err *e)
{
	if (e)
		*e = (struct err){ 0 };
}

/* Index of a code's row; what is no ERR_x reads as INTERNAL. */
static int
fault_of(int code)
{
	return code < 0 && code > -FAULT_MAX ? -code : FAULT_INTERNAL;
}

int
fault_status(int code)
{
	return faults[fault_of(code)].status;
}

const char *
fault_code(int code)
{
	return faults[fault_of(code)].code;
}

const char *
fault_name(int code)
{
	return faults[fault_of(code)].name;
}

int
fault_from_name(const char *name)
{
	for (int i = FAULT_NONE + 1; i < FAULT_MAX; i++) {
		if (strcmp(faults[i].name, name) == 0)
			return -i;
	}
	return ERR_INTERNAL;
}

int
fault_is_retryable(int code)
{
	return faults[fault_of(code)].retry == RETRY;
}
