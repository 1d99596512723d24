/* ListBuckets: all of an account's at once, or page by page once any parameter asks for it. */
#include "base/alloc.h"
#include "bucket.h"
#include "error.h"
#include "request.h"
#include "schema.h"

#define BUCKETS_MAX 10000
#define NO_REGION "us-east-1" /* what a bucket without a location constraint is in */

struct bucket_page {
	struct request *rq;
	bool is_paged;
	const char *prefix, *region; /* NULL: not asked for */
	const char *start;           /* the first name that may come */
	uint32_t max;
	/* out: the last one, when there are more; from the request's arena */
	const char *last;
};

static int
read_token(struct bucket_page *p, const char *token, struct err *e)
{
	struct arena *arena = p->rq->arena;
	_cleanup_free_ void *name = NULL;
	char *after;
	size_t n;

	if (!base64_decode(str_of(token), &name, &n) || n == 0 || n > 63 || memchr(name, 0, n))
		return error_argument(p->rq, "continuation-token", str_of(token), e,
		    "The continuation token provided is incorrect");
	/* no name lies between one and the same with this: '-' is the least that they are made of
	 */
	after = arena_printf(arena, "%.*s!", (int)n, (const char *)name);
	if (strcmp(after, p->start) > 0)
		p->start = after;
	return 0;
}

static int
read_page(struct bucket_page *p, struct err *e)
{
	const char *max = request_parameter(p->rq, "max-buckets"),
		   *token = request_parameter(p->rq, "continuation-token");

	p->prefix = request_parameter(p->rq, "prefix");
	p->region = request_parameter(p->rq, "bucket-region");
	p->is_paged = max || token || p->prefix || p->region;
	p->start = p->prefix ? p->prefix : "";
	p->max = BUCKETS_MAX;
	if (max && (!str_to_u32(str_of(max), &p->max) || p->max < 1 || p->max > BUCKETS_MAX))
		return error_argument(p->rq, "max-buckets", str_of(max), e,
		    "Argument max-buckets must be an integer between 1 and 10000");
	if (!p->is_paged)
		p->max = UINT32_MAX;
	return token && *token ? read_token(p, token, e) : 0;
}

static void
write_bucket(struct bucket_page *p, struct store_rows *rows)
{
	struct xml_writer *w = &p->rq->xml;
	const char *location = store_text(rows, 3);

	xml_open(w, "Bucket");
	xml_element(w, "Name", store_text(rows, 1));
	xml_time(w, "CreationDate", store_int(rows, 4));
	if (p->is_paged)
		xml_element(w, "BucketRegion", location[0] ? location : NO_REGION);
	xml_close(w, "Bucket");
}

static bool
is_wanted(const struct bucket_page *p, struct store_rows *rows)
{
	const char *location = store_text(rows, 3);

	return !p->region || strings_equal(p->region, location[0] ? location : NO_REGION);
}

static int
write_rows(struct store_tx *tx, struct bucket_page *p, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct str prefix = str_of(p->prefix);
	const char *before = NULL;
	uint32_t count = 0;
	int r = store_query(tx, Q_BUCKETS_OF_ACCOUNT, &rows, e, p->rq->caller.account_id, p->start);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		const char *name = store_text(rows, 1);

		if (strncmp(name, prefix.p, prefix.n) != 0)
			break;
		if (!is_wanted(p, rows))
			continue;
		if (count++ == p->max) {
			p->last = before;
			break;
		}
		before = arena_strdup(p->rq->arena, name);
		write_bucket(p, rows);
	}
	return r < 0 ? r : 0;
}

static int
write_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct bucket_page *p = arg;
	struct request *rq = p->rq;
	struct xml_writer *w = reply_xml(rq, "ListAllMyBucketsResult");
	int r;

	p->last = NULL;
	xml_owner(rq, w, "Owner", rq->caller.account_id);
	xml_open(w, "Buckets");
	r = write_rows(tx, p, e);
	xml_close(w, "Buckets");
	if (p->last) {
		_cleanup_free_ char *token = base64_encode(p->last, strlen(p->last));

		xml_element(w, "ContinuationToken", token);
	}
	xml_element(w, "Prefix", p->prefix);
	reply_xml_end(rq, "ListAllMyBucketsResult");
	return r;
}

int
bucket_list_all(struct request *rq, struct err *e)
{
	struct bucket_page p = { .rq = rq };
	int r = read_page(&p, e);

	return r < 0 ? r : store_read(rq->walrus->store, write_page, &p, e);
}
