#pragma once
/* multipart/form-data (RFC 7578) as browsers send it to a bucket: fields, then one file, whose
 * bytes are handed on as they come. A pure parser: it holds the fields and at most one line. */
#include "base/err.h"
#include "base/str.h"

#define FORM_FIELDS_BYTES_MAX                                                                      \
	(20 * 1024) /* all before the file: S3's own limit, but for its own overhead */
#define FORM_FIELDS_MAX 200

struct form_reader;
/* Of a Content-Type: the boundary's characters and length are checked. NULL: it is no such form. */
struct form_reader *form_reader_new(struct str content_type);
void form_reader_free(struct form_reader *f);
DEFINE_CLEANUP(struct form_reader *, form_reader_free)

enum form_step {
	FORM_MORE, /* the input is used up */
	FORM_DATA, /* bytes of the file: *ret_data, valid until the next call */
	FORM_FILE, /* the file begins: all the fields that count are there */
	FORM_END,  /* the file has ended; what follows does not count and is dropped */
};
/* A step, or ERR_MALFORMED_POST_REQUEST, ERR_POST_FIELDS_TOO_LONG. Consumes from *io. */
int form_reader_next(struct form_reader *f, struct str *io, struct str *ret_data, struct err *e);

struct form_part {
	char *name;
	struct str value; /* any bytes, NUL behind them */
};
/* Fields in their order, without the file. */
const struct form_part *form_reader_fields(const struct form_reader *f, size_t *ret_count);
/* First field of that name, any case; p NULL when absent. */
struct str form_reader_find(const struct form_reader *f, const char *name);
/* What the browser calls the file, without directories; "" when it does not say. From FORM_FILE on.
 */
const char *form_reader_filename(const struct form_reader *f);
