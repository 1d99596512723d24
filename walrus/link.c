/* Who makes a link to PUT an object says in it what headers would: many SDKs move headers of the
 * request into the query. Amazon takes some of these for the headers, and leaves others without
 * effect (docs/s3.md); all of them are signed. A header that comes as well counts before it and is
 * signed too, by Version 4 beside the parameter, by Version 2 in its place. */
#include "link.h"

#include "error.h"

static const struct {
	const char *name; /* or prefix, where it ends in '-' */
	bool version_2_only;
} taken[] = {
	{ "x-amz-acl", false },
	{ "x-amz-expected-bucket-owner", false },
	{ "x-amz-grant-", false },
	{ "x-amz-meta-", false },
	{ "x-amz-object-lock-", false },
	{ "x-amz-request-payer", false },
	{ "x-amz-server-side-encryption", false },
	{ "x-amz-server-side-encryption-aws-kms-key-id", false },
	{ "x-amz-storage-class", false },
	{ "x-amz-website-redirect-location", false },
	{ "content-md5", true },
	{ "content-type", true },
};

static bool
is_taken(const char *name, bool is_version_2)
{
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		size_t n = strlen(taken[i].name);
		bool is_prefix = taken[i].name[n - 1] == '-';

		if (strncasecmp(name, taken[i].name, n) == 0 && (is_prefix ? name[n] : !name[n]))
			return is_version_2 || !taken[i].version_2_only;
	}
	return false;
}

bool
link_is_header(const char *name, struct str value)
{
	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr("()<>@,;:\\\"/[]?={}", *p))
			return false;
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 127)
			return false;
	return *name != '\0';
}

int
link_read_headers(struct request *rq, struct err *e)
{
	const struct request_signature *made = &rq->signature;
	struct http_head *head = NULL;

	if (!made->type || !strings_equal(made->type, "REST-QUERY-STRING"))
		return 0;
	for (size_t i = 0; i < rq->query.count; i++) {
		const struct form_field *f = &rq->query.fields[i];
		struct str value = str_trim(f->value);

		if (!is_taken(f->name, strings_equal(made->version, "AWS")) ||
		    http_head_find(head ? head : rq->head, f->name).p)
			continue;
		if (!link_is_header(f->name, value) ||
		    (head ? head : rq->head)->header_count == HTTP_HEADERS_MAX)
			return error_argument(rq, f->name, f->value, e,
			    "The value of a parameter cannot be that of a header.");
		if (!head)
			rq->head = head = arena_memdup(rq->arena, rq->head, sizeof(*head));
		head->headers[head->header_count++] =
		    (struct http_header){ str_of(f->name), value };
	}
	return 0;
}
