/* Fuzzes what browsers post to buckets. The first byte chooses:
 *
 * even  the rest is a form of boundary "b", read whole and in small pieces: both must say the same,
 * of the same fields and the same file, and no delimiter may be left in what is handed out. odd the
 * rest is a policy: it is read, and lets nothing through that does not name bucket and key. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/strbuf.h"
#include "walrus/form.h"
#include "walrus/post_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct outcome {
	int code;
	struct strbuf file, fields;
};

static void
read_form(struct str body, size_t piece, struct outcome *out)
{
	struct form_reader *f = form_reader_new(STR("multipart/form-data; boundary=b"));
	const struct form_part *fields;
	size_t count;

	for (size_t at = 0; at < body.n && out->code >= 0 && out->code != FORM_END; at += piece) {
		struct str io = { body.p + at, body.n - at < piece ? body.n - at : piece }, data;

		while ((out->code = form_reader_next(f, &io, &data, NULL)) == FORM_DATA ||
		       out->code == FORM_FILE) {
			if (out->code == FORM_DATA)
				strbuf_addstr(&out->file, data);
			else
				strbuf_adds(&out->fields, form_reader_filename(f));
		}
	}
	fields = form_reader_fields(f, &count);
	for (size_t i = 0; i < count; i++) {
		strbuf_addf(&out->fields, "%s=", fields[i].name);
		strbuf_addstr(&out->fields, fields[i].value);
	}
	form_reader_free(f);
}

static void
check_form(struct str body)
{
	struct outcome whole = { 0 };

	read_form(body, SIZE_MAX / 2, &whole);
	if (whole.file.n && memmem(whole.file.p, whole.file.n, "\r\n--b", 5))
		abort();
	if (whole.fields.n > FORM_FIELDS_BYTES_MAX)
		abort();
	for (size_t piece = 1; piece < 12; piece += 3) {
		struct outcome pieces = { 0 };

		read_form(body, piece, &pieces);
		if (pieces.code != whole.code ||
		    !str_eq(strbuf_str(&pieces.file), strbuf_str(&whole.file)) ||
		    !str_eq(strbuf_str(&pieces.fields), strbuf_str(&whole.fields)))
			abort();
		strbuf_done(&pieces.file);
		strbuf_done(&pieces.fields);
	}
	strbuf_done(&whole.file);
	strbuf_done(&whole.fields);
}

static void
check_policy(const uint8_t *data, size_t n)
{
	static const struct form_part fields[] = { { (char *)"key", { "k", 1 } },
		{ (char *)"Content-Type", { "a/b, c/d", 8 } } };
	_cleanup_free_ char *coded = base64_encode(data, n);
	struct post_policy policy;
	struct err e = { 0 };
	int r = post_policy_check(
	    str_of(coded), "bucket", fields, ARRAY_SIZE(fields), INT64_C(1) << 50, &policy, &e);

	if (r != 0 && r != ERR_ACCESS_DENIED && r != ERR_INVALID_POLICY_DOCUMENT)
		abort();
	if (r == 0 && !memchr(data, '[', n))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	if (data[0] % 2 == 0)
		check_form((struct str){ (const char *)data + 1, n - 1 });
	else
		check_policy(data + 1, n - 1);
	return 0;
}
