/* Who makes a link to PUT an object says in it what headers would: many SDKs move headers of the
 * request into the query. Amazon takes some of these for the headers, and leaves others without
 * effect (docs/s3.md), but in links of Version 2; all of them are signed. A header that comes as
 * well counts before it and is signed too, by Version 4 beside the parameter, by Version 2 in its
 * place. */
#include "link.h"

#include "error.h"

/* Names, or prefixes, which end in '-'. */
static const char *const taken[] = {
	"x-amz-acl",
	"x-amz-expected-bucket-owner",
	"x-amz-grant-",
	"x-amz-meta-",
	"x-amz-object-lock-",
	"x-amz-request-payer",
	"x-amz-server-side-encryption",
	"x-amz-server-side-encryption-aws-kms-key-id",
	"x-amz-storage-class",
	"x-amz-website-redirect-location",
	NULL,
};
/* Version 2 signs a parameter just as the header: one that had no effect would let whoever has the
 * link take the effect from a header, by sending it so. */
static const char *const taken_by_version_2[] = { "x-amz-", "content-md5", "content-type", NULL };

static bool
is_among(const char *const *names, const char *name)
{
	for (; *names; names++) {
		size_t n = strlen(*names);
		bool is_prefix = (*names)[n - 1] == '-';

		if (strncasecmp(name, *names, n) == 0 && (is_prefix ? name[n] : !name[n]))
			return true;
	}
	return false;
}

bool
link_is_value(struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 127)
			return false;
	return true;
}

bool
link_is_header(const char *name, struct str value)
{
	return http_is_token(name) && link_is_value(value);
}

int
link_read_headers(struct request *rq, struct err *e)
{
	const struct request_signature *made = &rq->signature;
	struct http_head *head = NULL;
	const char *const *names;

	if (!made->type || !strings_equal(made->type, "REST-QUERY-STRING"))
		return 0;
	names = strings_equal(made->version, "AWS") ? taken_by_version_2 : taken;
	for (size_t i = 0; i < rq->query.count; i++) {
		const struct form_field *f = &rq->query.fields[i];
		struct str value = str_trim(f->value);

		if (!is_among(names, f->name) || http_head_find(head ? head : rq->head, f->name).p)
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
