#pragma once
/* The error value: filled once where something failed, wrapped at most once per layer, logged once
 * where the request ends. It lives on the caller's stack, needs no memory and can be copied. */
#include "base/alloc.h"

enum fault {
	FAULT_NONE,
#define FAULT(name, status, code, retry) FAULT_##name,
#include "base/faults.def"
#undef FAULT
	FAULT_MAX
};

/* ERR_x is the negative of FAULT_x: what functions return. */
enum err_code {
#define FAULT(name, status, code, retry) ERR_##name = -FAULT_##name,
#include "base/faults.def"
#undef FAULT
};

struct err {
	int code;   /* 0 or ERR_x */
	int number; /* errno behind it, or 0 */
	const char *file;
	int line;
	char text[512];
};

/* Each writes *e (which may be NULL: the caller does not care) and returns the code. The arguments may
 * quote e->text. err_wrap of a NULL e knows no code and returns ERR_INTERNAL. */
int err_set_at(struct err *e, const char *file, int line, int code, const char *format, ...)
    _printf_(5, 6);
/* The code follows from the errno: ENOENT NOT_FOUND, EEXIST EXISTS, ENOSPC and EDQUOT NO_SPACE,
 * EACCES and EPERM DENIED, ETIMEDOUT TIMEOUT, ENOMEM LIMIT, ECONNREFUSED and kin UNAVAILABLE,
 * everything else IO. Appends ": strerror". */
int err_set_errno_at(struct err *e, const char *file, int line, int number, const char *format, ...)
    _printf_(5, 6);
/* Prefixes "context: " to the text; code and place stay. Of a NULL e no code is known: ERR_INTERNAL. */
int err_wrap(struct err *e, const char *format, ...) _printf_(2, 3);
void err_clear(struct err *e);

#define err_set(e, code, ...) err_set_at(e, __FILE__, __LINE__, code, __VA_ARGS__)
#define err_set_errno(e, number, ...) err_set_errno_at(e, __FILE__, __LINE__, number, __VA_ARGS__)

/* What the wire says of a code (ERR_x). Unknown codes read as INTERNAL. */
int fault_status(int code);              /* HTTP status */
const char *fault_code(int code);        /* "InvalidInstanceID.NotFound" */
const char *fault_name(int code);        /* "INSTANCE_NOT_FOUND", inverse of fault_from_name */
int fault_from_name(const char *name);   /* ERR_x, or ERR_INTERNAL when unknown */
int fault_is_retryable(int code);
