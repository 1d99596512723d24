#pragma once
/* Refusals as S3 words them: code, message, and the elements that a code has of its own. */
#include "base/err_detail.h"

struct request;
struct err;

/* Sets *e, and an element of the error's body that says which argument it was.
 * ERR_INVALID_ARGUMENT. */
int error_argument(struct request *rq, const char *name, struct str value, struct err *e,
    const char *format, ...) _printf_(5, 6);
/* The element Header of NotImplemented. */
int error_header(struct request *rq, const char *name, struct err *e);

/* Turns whatever there is of a reply into the error's: status, headers and body. What else the
 * error is to say, the operation put into rq->details (error_reply.c). */
void error_reply(struct request *rq, const struct err *e);
