/* For those who refuse: what the error's reply is to say beside code and message. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include "request.h"

int
error_argument(
    struct request *rq, const char *name, struct str value, struct err *e, const char *format, ...)
{
	char text[sizeof(e->text)];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	err_detail(&rq->details, "ArgumentName", str_of(name));
	err_detail(&rq->details, "ArgumentValue", value);
	return err_set(e, ERR_INVALID_ARGUMENT, "%s", text);
}

int
error_header(struct request *rq, const char *name, struct err *e)
{
	err_detail(&rq->details, "Header", str_of(name));
	return err_set(e, ERR_NOT_IMPLEMENTED,
	    "A header you provided implies functionality that is not implemented");
}
