/* One scan serves fields and file: what lies before the delimiter CRLF "--" boundary is content.
 * The delimiter holds one CR, its first byte; so what looked like it and was not can be handed out
 * from the delimiter itself, and at most the last CR of a piece can begin one. The first delimiter
 * may stand at the very beginning, as if a CRLF had been before it. */
#include "form.h"

#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "base/vec.h"

#define BOUNDARY_MAX 70 /* RFC 2046 5.1.1 */
#define LINE_BYTES_MAX 4096
#define PREAMBLE_BYTES_MAX 1024

enum state { IN_PREAMBLE, AFTER_DELIMITER, IN_HEADERS, IN_FIELD, IN_FILE, AT_END };

struct form_reader {
	char delimiter[BOUNDARY_MAX + 5];
	size_t delimiter_length;
	size_t matched; /* of the delimiter, at the end of what came */
	enum state state;
	size_t preamble_bytes, field_bytes;
	struct strbuf line, value;
	char *name, *filename; /* of the part at hand */
	VEC(struct form_part) fields;
};

/* -- Content-Type and Content-Disposition -- */

/* "; name=value" or "; name=\"value\"" at *rest. Browsers escape a quote by a backslash or as %22,
 * and old ones leave the backslashes of a path alone. False at the end, and at what is none. */
static bool
next_parameter(struct str *rest, struct str *ret_name, struct strbuf *value)
{
	const char *p = rest->p, *end = p + rest->n, *start;

	while (p < end && (*p == ' ' || *p == '\t' || *p == ';'))
		p++;
	start = p;
	while (p < end && *p != '=' && *p != ';' && *p != ' ')
		p++;
	*ret_name = (struct str){ start, (size_t)(p - start) };
	if (p == end || *p != '=' || ret_name->n == 0)
		return false;
	strbuf_reset(value);
	if (++p < end && *p == '"') {
		for (p++; p < end && *p != '"'; p++) {
			if (*p == '\\' && p + 1 < end && p[1] == '"')
				p++;
			strbuf_addc(value, *p);
		}
		if (p == end)
			return false;
		p++;
	} else {
		while (p < end && *p != ';' && *p != ' ' && *p != '\t')
			strbuf_addc(value, *p++);
	}
	*rest = (struct str){ p, (size_t)(end - p) };
	return true;
}

static bool
is_boundary(struct str s)
{
	if (s.n == 0 || s.n > BOUNDARY_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return true;
}

struct form_reader *
form_reader_new(struct str content_type)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
	struct str rest = content_type, type, name;
	struct form_reader *f;

	if (!str_split(&rest, ';', &type) ||
	    !str_is_nocase(str_trim(type), "multipart/form-data") || !rest.p)
		return NULL;
	while (next_parameter(&rest, &name, &value)) {
		if (!str_is_nocase(name, "boundary"))
			continue;
		if (!is_boundary(strbuf_str(&value)))
			return NULL;
		f = xcalloc(1, sizeof(*f));
		memcpy(f->delimiter, "\r\n--", 4);
		memcpy(f->delimiter + 4, value.p, value.n);
		f->delimiter_length = value.n + 4;
		f->matched = 2;
		f->line.limit = LINE_BYTES_MAX;
		f->value.limit = FORM_FIELDS_BYTES_MAX;
		return f;
	}
	return NULL;
}

void
form_reader_free(struct form_reader *f)
{
	if (!f)
		return;
	VEC_FOREACH (&f->fields, part) {
		free(part->name);
		free((char *)part->value.p);
	}
	vec_done(&f->fields);
	strbuf_done(&f->line);
	strbuf_done(&f->value);
	free(f->name);
	free(f->filename);
	free(f);
}

/* -- steps -- */

static int
malformed(struct err *e)
{
	return err_set(e, ERR_MALFORMED_POST_REQUEST,
	    "The body of your POST request is not well-formed multipart/form-data.");
}

static int
too_long(struct err *e)
{
	return err_set(e, ERR_POST_FIELDS_TOO_LONG,
	    "Your POST request fields preceding the upload file were too large.");
}

/* What there is before the delimiter, in *ret_content; true at the delimiter, which is consumed. */
static bool
take_content(struct form_reader *f, struct str *io, struct str *ret_content)
{
	const char *found, *last;
	size_t n;

	*ret_content = (struct str){ NULL, 0 };
	if (f->matched > 0) {
		for (n = 0; n < io->n && f->matched < f->delimiter_length &&
			    io->p[n] == f->delimiter[f->matched];
		     n++)
			f->matched++;
		*io = (struct str){ io->p + n, io->n - n };
		if (f->matched == f->delimiter_length) {
			f->matched = 0;
			return true;
		}
		if (io->n == 0)
			return false;
		*ret_content = (struct str){ f->delimiter, f->matched };
		f->matched = 0;
		return false;
	}
	found = memmem(io->p, io->n, f->delimiter, f->delimiter_length);
	if (found) {
		*ret_content = (struct str){ io->p, (size_t)(found - io->p) };
		n = ret_content->n + f->delimiter_length;
		*io = (struct str){ io->p + n, io->n - n };
		return true;
	}
	last = memrchr(io->p, '\r', io->n);
	n = last ? (size_t)(io->p + io->n - last) : 0;
	if (n >= f->delimiter_length || (n > 0 && memcmp(last, f->delimiter, n) != 0))
		n = 0;
	f->matched = n;
	*ret_content = (struct str){ io->p, io->n - n };
	*io = (struct str){ io->p + io->n, 0 };
	return false;
}

/* Collects a line: 1 when f->line holds it without CRLF, 0 when input ran out. */
static int
take_line(struct form_reader *f, struct str *io, struct err *e)
{
	const char *end = memchr(io->p, '\n', io->n);
	size_t n = end ? (size_t)(end - io->p) + 1 : io->n;

	strbuf_add(&f->line, io->p, n);
	*io = (struct str){ io->p + n, io->n - n };
	f->field_bytes += n;
	if (f->line.overflowed || f->field_bytes > FORM_FIELDS_BYTES_MAX)
		return too_long(e);
	if (!end)
		return 0;
	if (f->line.n < 2 || f->line.p[f->line.n - 2] != '\r')
		return malformed(e);
	f->line.n -= 2;
	f->line.p[f->line.n] = '\0';
	return 1;
}

/* Only what is behind the last slash or backslash: old browsers send whole paths. */
static char *
without_directories(const char *path)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/' || *p == '\\')
			base = p + 1;
	return xstrdup(base);
}

/* A header of a part; only Content-Disposition says something that S3 listens to. */
static int
read_header(struct form_reader *f, struct err *e)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
	struct str rest = strbuf_str(&f->line), name, type;

	if (strlen(f->line.p) != f->line.n || !str_split(&rest, ':', &name) || !rest.p)
		return malformed(e);
	if (!str_is_nocase(str_trim(name), "content-disposition"))
		return 0;
	if (f->name || !str_split(&rest, ';', &type) ||
	    !str_is_nocase(str_trim(type), "form-data") || !rest.p)
		return malformed(e);
	while (next_parameter(&rest, &name, &value)) {
		if (str_is_nocase(name, "name") && !f->name)
			f->name = xstrdup(strbuf_c(&value));
		else if (str_is_nocase(name, "filename") && !f->filename)
			f->filename = without_directories(strbuf_c(&value));
	}
	return f->name && *f->name ? 0 : malformed(e);
}

/* At the empty line behind a part's headers. */
static int
begin_part(struct form_reader *f, struct err *e)
{
	if (!f->name)
		return malformed(e);
	if (strcasecmp(f->name, "file") == 0) {
		f->state = IN_FILE;
		return FORM_FILE;
	}
	if (f->fields.count == FORM_FIELDS_MAX)
		return too_long(e);
	f->state = IN_FIELD;
	return FORM_MORE;
}

static int
header_line(struct form_reader *f, struct str *io, struct err *e)
{
	int r = take_line(f, io, e);

	if (r <= 0)
		return r;
	r = f->line.n == 0 ? begin_part(f, e) : read_header(f, e);
	strbuf_reset(&f->line);
	return r;
}

/* Behind a delimiter: the end of its line, or "--" and the end of all, which need not end its line.
 */
static int
delimiter_line(struct form_reader *f, struct str *io, struct err *e)
{
	int r;

	while (f->line.n < 2) {
		if (io->n == 0)
			return FORM_MORE;
		strbuf_addc(&f->line, *io->p);
		*io = (struct str){ io->p + 1, io->n - 1 };
		f->field_bytes++;
	}
	if (memcmp(f->line.p, "--", 2) == 0) {
		f->state = AT_END;
		return FORM_END;
	}
	if (memcmp(f->line.p, "\r\n", 2) != 0) {
		r = take_line(f, io, e);
		if (r <= 0)
			return r;
		if (str_trim(strbuf_str(&f->line)).n > 0)
			return malformed(e);
	}
	strbuf_reset(&f->line);
	free(TAKE(f->name));
	free(TAKE(f->filename));
	f->state = IN_HEADERS;
	return FORM_MORE;
}

static int
field_bytes(struct form_reader *f, struct str *io, struct err *e)
{
	struct str content;
	struct form_part part;
	bool is_end = take_content(f, io, &content);

	strbuf_addstr(&f->value, content);
	f->field_bytes += content.n;
	if (f->value.overflowed || f->field_bytes > FORM_FIELDS_BYTES_MAX)
		return too_long(e);
	if (!is_end)
		return FORM_MORE;
	part.name = TAKE(f->name);
	part.value.n = f->value.n;
	part.value.p = f->value.n ? strbuf_take(&f->value) : xstrdup("");
	f->value.limit = FORM_FIELDS_BYTES_MAX;
	vec_add(&f->fields, part);
	f->state = AFTER_DELIMITER;
	return FORM_MORE;
}

static int
preamble(struct form_reader *f, struct str *io, struct err *e)
{
	struct str content;
	bool is_end = take_content(f, io, &content);

	f->preamble_bytes += content.n;
	if (f->preamble_bytes > PREAMBLE_BYTES_MAX)
		return malformed(e);
	if (is_end)
		f->state = AFTER_DELIMITER;
	return FORM_MORE;
}

static int
file_bytes(struct form_reader *f, struct str *io, struct str *ret_data)
{
	if (take_content(f, io, ret_data))
		f->state = AT_END;
	if (ret_data->n > 0)
		return FORM_DATA;
	return f->state == AT_END ? FORM_END : FORM_MORE;
}

static int
step(struct form_reader *f, struct str *io, struct str *ret_data, struct err *e)
{
	switch (f->state) {
	case IN_PREAMBLE:
		return preamble(f, io, e);
	case AFTER_DELIMITER:
		return delimiter_line(f, io, e);
	case IN_HEADERS:
		return header_line(f, io, e);
	case IN_FIELD:
		return field_bytes(f, io, e);
	case IN_FILE:
		return file_bytes(f, io, ret_data);
	case AT_END:
		break;
	}
	return FORM_END;
}

int
form_reader_next(struct form_reader *f, struct str *io, struct str *ret_data, struct err *e)
{
	while (io->n > 0 || f->state == AT_END) {
		int r = step(f, io, ret_data, e);

		if (r == FORM_END)
			*io = (struct str){ io->p + io->n, 0 };
		if (r != FORM_MORE)
			return r;
	}
	return FORM_MORE;
}

/* -- what came -- */

const struct form_part *
form_reader_fields(const struct form_reader *f, size_t *ret_count)
{
	*ret_count = f->fields.count;
	return f->fields.items;
}

struct str
form_reader_find(const struct form_reader *f, const char *name)
{
	VEC_FOREACH (&f->fields, part)
		if (strcasecmp(part->name, name) == 0)
			return part->value;
	return (struct str){ NULL, 0 };
}

const char *
form_reader_filename(const struct form_reader *f)
{
	return f->filename ? f->filename : "";
}
