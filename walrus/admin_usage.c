/* Usage of accounts, and quotas: of bytes, and of objects with all their versions. */
#include "admin_usage.h"

#include "admin.h"
#include "run/conf.h"
#include "schema.h"
#include "usage.h"

struct order {
	struct http_call *call;
	struct form form;
	bool has_bytes, has_versions;
	int64_t bytes, versions; /* -1: none */
};

static int
print_usage(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct order *o = arg;
	struct strbuf *out = &o->call->reply;
	const char *account = form_find(&o->form, "account");
	char account_id[ACCOUNT_ID_SIZE] = "";
	int r = account ? usage_find_account(tx, account, account_id, e) : 0;

	strbuf_reset(out);
	if (r == 0)
		r = store_query(tx, Q_ADMIN_USAGE, &rows, e, account_id);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		strbuf_addf(out,
		    "%s name=%s buckets=%lld objects=%lld versions=%lld bytes=%lld part_bytes=%lld",
		    store_text(rows, 0), store_text(rows, 1) ? store_text(rows, 1) : "-",
		    (long long)store_int(rows, 2), (long long)store_int(rows, 3),
		    (long long)store_int(rows, 4), (long long)store_int(rows, 5),
		    (long long)store_int(rows, 6));
		if (!store_is_null(rows, 7))
			strbuf_addf(out, " quota_bytes=%lld", (long long)store_int(rows, 7));
		if (!store_is_null(rows, 8))
			strbuf_addf(out, " quota_objects=%lld", (long long)store_int(rows, 8));
		strbuf_addc(out, '\n');
	}
	return r;
}

void
admin_usage_list(struct http_call *call, void *arg)
{
	struct walrus *w = arg;
	struct order o = { .call = call };
	struct err e = { 0 };
	int r = admin_form(call, &o.form, &e);

	if (r == 0)
		r = store_read(w->store, print_usage, &o, &e);
	if (r < 0)
		admin_fail(call, &e);
}

/* -- quotas -- */

/* "10G", or "none". */
static int
read_size(
    const struct form *form, const char *name, bool *ret_is_there, int64_t *ret, struct err *e)
{
	struct size {
		uint64_t bytes;
	} size = { 0 };
	static const struct conf_key keys[] = {
		{ "size", CONF_SIZE, offsetof(struct size, bytes), NULL, "", NULL, 0, INT64_MAX },
		CONF_END,
	};
	const char *text = form_find(form, name);
	_cleanup_free_ char *line = NULL;

	*ret_is_there = text != NULL;
	*ret = -1;
	if (!text || strings_equal(text, "none"))
		return 0;
	line = xasprintf("size = %s\n", text);
	if (strpbrk(text, "\r\n#") || conf_parse(keys, name, str_of(line), &size, e) < 0)
		return err_set(e, ERR_INVALID,
		    "'%.40s' is neither a number, with K, M, G or T perhaps, nor none", text);
	*ret = (int64_t)size.bytes;
	return 0;
}

static int
read_order(struct order *o, struct err *e)
{
	int r = admin_form(o->call, &o->form, e);

	if (r == 0)
		r = read_size(&o->form, "bytes", &o->has_bytes, &o->bytes, e);
	if (r == 0)
		r = read_size(&o->form, "objects", &o->has_versions, &o->versions, e);
	return r;
}

static int
set_bucket_quota(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	const struct usage_change nothing = { 0 };
	struct bucket bucket;
	const char *name;
	int r = admin_need(&o->form, "bucket", &name, e);

	if (r == 0)
		r = bucket_find(tx, name, o->call->arena, &bucket, e);
	if (r == ERR_BUCKET_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no bucket '%.100s'", name);
	if (r == 0)
		r = usage_note(tx, bucket.id, &nothing, e); /* there is a row */
	if (r == 0 && o->has_bytes)
		r = store_exec(tx, Q_BUCKET_QUOTA_BYTES, NULL, e, bucket.id, o->bytes);
	if (r == 0 && o->has_versions)
		r = store_exec(tx, Q_BUCKET_QUOTA_VERSIONS, NULL, e, bucket.id, o->versions);
	strbuf_reset(&o->call->reply);
	return r < 0 ? r : usage_describe_bucket(tx, bucket.id, &o->call->reply, e);
}

static int
set_account_quota(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	char account_id[ACCOUNT_ID_SIZE] = "";
	const char *name;
	int r = admin_need(&o->form, "account", &name, e);

	if (r == 0)
		r = usage_find_account(tx, name, account_id, e);
	if (r == 0)
		r = store_exec(tx, Q_ACCOUNT_QUOTA_ADD, NULL, e, account_id);
	if (r == 0 && o->has_bytes)
		r = store_exec(tx, Q_ACCOUNT_QUOTA_BYTES, NULL, e, account_id, o->bytes);
	if (r == 0 && o->has_versions)
		r = store_exec(tx, Q_ACCOUNT_QUOTA_VERSIONS, NULL, e, account_id, o->versions);
	if (r == 0)
		r = store_exec(tx, Q_ACCOUNT_QUOTA_TRIM, NULL, e);
	return r < 0 ? r : print_usage(tx, o, e);
}

static void
set_quota(struct http_call *call, struct walrus *w, store_fn fn)
{
	struct order o = { .call = call };
	struct err e = { 0 };
	int r = read_order(&o, &e);

	if (r == 0)
		r = store_write(w->store, fn, &o, &e);
	if (r < 0)
		admin_fail(call, &e);
}

void
admin_bucket_quota(struct http_call *call, void *arg)
{
	set_quota(call, arg, set_bucket_quota);
}

void
admin_account_quota(struct http_call *call, void *arg)
{
	set_quota(call, arg, set_account_quota);
}
