/* Lines of key=value, as all verbs write them; keys of objects are percent-encoded. */
#include "admin_bucket.h"

#include "admin.h"
#include "base/clock.h"
#include "bucket.h"
#include "schema.h"
#include "usage.h"

#define UPLOADS_SHOWN 1000

struct question {
	struct walrus *walrus;
	struct http_call *call;
	struct form form;
	const char *name; /* of the bucket */
};

static void
ask(struct http_call *call, struct walrus *w, store_fn fn)
{
	struct question q = { .walrus = w, .call = call };
	struct err e = { 0 };
	int r = admin_form(call, &q.form, &e);

	if (r == 0)
		r = store_read(w->store, fn, &q, &e);
	if (r < 0)
		admin_fail(call, &e);
}

static int
find_bucket(struct store_tx *tx, struct question *q, struct bucket *ret, struct err *e)
{
	int r = admin_need(&q->form, "bucket", &q->name, e);

	if (r == 0)
		r = bucket_find(tx, q->name, q->call->arena, ret, e);
	if (r == ERR_BUCKET_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no bucket '%.100s'", q->name);
	return r;
}

/* -- list -- */

static int
print_buckets(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct question *q = arg;
	struct strbuf *out = &q->call->reply;
	const char *account = form_find(&q->form, "account");
	char account_id[ACCOUNT_ID_SIZE] = "";
	int r = account ? usage_find_account(tx, account, account_id, e) : 0;

	strbuf_reset(out);
	if (r == 0)
		r = store_query(tx, Q_ADMIN_BUCKETS, &rows, e, account_id);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		char created[TIME_TEXT_SIZE];

		time_format_iso(store_int(rows, 2), created);
		strbuf_addf(out, "%s account=%s created=%s objects=%lld versions=%lld bytes=%lld\n",
		    store_text(rows, 0), store_text(rows, 1), created,
		    (long long)store_int(rows, 3), (long long)store_int(rows, 4),
		    (long long)store_int(rows, 5));
	}
	return r;
}

void
admin_bucket_list(struct http_call *call, void *arg)
{
	ask(call, arg, print_buckets);
}

/* -- show -- */

static int
print_settings(struct store_tx *tx, int64_t bucket_id, struct strbuf *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUCKET_SETTINGS, &rows, e, bucket_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct str body = str_of(store_text(rows, 1));

		strbuf_addf(out, "setting %s: ", store_text(rows, 0));
		for (size_t i = 0; i < body.n; i++)
			if (body.p[i] != '\n' && body.p[i] != '\r')
				strbuf_addc(out, body.p[i]);
		strbuf_addc(out, '\n');
	}
	return r;
}

static int
print_bucket(struct store_tx *tx, void *arg, struct err *e)
{
	static const char *const words[] = { "never", "enabled", "suspended" };
	_cleanup_(store_rows_freep) struct store_rows *uploads = NULL;
	struct question *q = arg;
	struct strbuf *out = &q->call->reply;
	char created[TIME_TEXT_SIZE];
	struct bucket b;
	int r = find_bucket(tx, q, &b, e);

	if (r == 0)
		r = store_query_one(tx, Q_UPLOAD_COUNT, &uploads, "uploads", e, b.id);
	if (r < 0)
		return r;
	time_format_iso(b.created_us, created);
	strbuf_reset(out);
	strbuf_addf(out, "%s account=%s location=%s created=%s versioning=%s uploads=%lld\n",
	    b.name, b.account_id, b.location, created, words[b.versioning],
	    (long long)store_int(uploads, 0));
	r = usage_describe_bucket(tx, b.id, out, e);
	return r < 0 ? r : print_settings(tx, b.id, out, e);
}

void
admin_bucket_show(struct http_call *call, void *arg)
{
	ask(call, arg, print_bucket);
}

/* -- uploads -- */

static int
print_uploads(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct question *q = arg;
	struct strbuf *out = &q->call->reply;
	struct bucket b;
	int r = find_bucket(tx, q, &b, e);

	strbuf_reset(out);
	if (r == 0)
		r = store_query(tx, Q_ADMIN_UPLOADS, &rows, e, b.id, (int64_t)UPLOADS_SHOWN);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		char begun[TIME_TEXT_SIZE];

		time_format_iso(store_int(rows, 3), begun);
		strbuf_addf(out, "%s key=", store_text(rows, 0));
		url_encode(out, store_blob(rows, 1), true);
		strbuf_addf(out, " account=%s begun=%s parts=%lld bytes=%lld\n",
		    store_text(rows, 2), begun, (long long)store_int(rows, 4),
		    (long long)store_int(rows, 5));
	}
	return r;
}

void
admin_upload_list(struct http_call *call, void *arg)
{
	ask(call, arg, print_uploads);
}
