/* Verbs of the admin socket: upkeep here, others in admin_bucket.c, admin_object.c, admin_usage.c.
 */
#include "admin.h"

#include "admin_bucket.h"
#include "admin_object.h"
#include "admin_usage.h"
#include "backup.h"
#include "orphans.h"
#include "scrub.h"

static void
read_lines(struct http_call *call, struct walrus *w, store_fn fn)
{
	struct err e = { 0 };

	call->content_type = "text/plain";
	if (store_read(w->store, fn, &call->reply, &e) < 0)
		admin_fail(call, &e);
}

/* -- scrub -- */

static void
show_scrub(struct http_call *call, void *arg)
{
	read_lines(call, arg, scrub_describe);
}

static void
start_scrub(struct http_call *call, void *arg)
{
	struct walrus *w = arg;

	call->content_type = "text/plain";
	scrub_order(w->scrub);
	reconciler_poke(w->scrubbing);
	strbuf_adds(&call->reply, "a scrub begins, if none is under way\n");
}

/* -- orphans -- */

static void
show_orphans(struct http_call *call, void *arg)
{
	read_lines(call, arg, orphans_describe);
}

static void
release_orphans(struct http_call *call, void *arg)
{
	struct walrus *w = arg;
	struct err e = { 0 };

	call->content_type = "text/plain";
	if (store_write(w->store, orphans_release, NULL, &e) < 0) {
		admin_fail(call, &e);
		return;
	}
	reconciler_poke(w->orphans);
	strbuf_adds(&call->reply, "files that nothing names will be removed\n");
}

/* -- backups -- */

static void
list_backups(struct http_call *call, void *arg)
{
	struct err e = { 0 };

	call->content_type = "text/plain";
	if (backup_describe(arg, &call->reply, &e) < 0)
		admin_fail(call, &e);
}

static void
make_backup(struct http_call *call, void *arg)
{
	struct walrus *w = arg;
	struct err e = { 0 };
	int64_t id;

	call->content_type = "text/plain";
	if (backup_make(w, &id, &e) < 0)
		admin_fail(call, &e);
	else
		strbuf_addf(&call->reply, "%lld path=%s/backups/%lld.db\n", (long long)id,
		    w->conf->daemon.state_dir, (long long)id);
}

static void
drop_backup(struct http_call *call, void *arg)
{
	struct err e = { 0 };
	struct form form;
	const char *text = NULL;
	int64_t id = 0;
	int r = admin_form(call, &form, &e);

	if (r == 0)
		r = admin_need(&form, "backup", &text, &e);
	if (r == 0 && (!str_to_i64(str_of(text), &id) || id <= 0))
		r = err_set(&e, ERR_INVALID, "'%.40s' is not the number of a backup", text);
	if (r == 0)
		r = backup_drop(arg, id, &e);
	if (r < 0)
		admin_fail(call, &e);
	else
		strbuf_addf(&call->reply, "backup %lld is dropped\n", (long long)id);
}

const struct admin_verb walrus_admin_verbs[] = {
	{ "GET", "/scrub", "the last scrubs, and what is damaged", show_scrub },
	{ "POST", "/scrub/start", "one begins now", start_scrub },
	{ "GET", "/orphans", "files that nothing names, at the last look", show_orphans },
	{ "POST", "/orphans/release", "those that are held are removed", release_orphans },
	{ "GET", "/backups", "copies of the store, and how many files they hold up", list_backups },
	{ "POST", "/backups", "makes one", make_backup },
	{ "POST", "/backups/drop", "backup: it goes, and what only it names", drop_backup },
	{ "POST", "/buckets", "account: its buckets; without: all", admin_bucket_list },
	{ "POST", "/buckets/show", "bucket: all that is known of it", admin_bucket_show },
	{ "POST", "/buckets/quota", "bucket, bytes, objects: how much it may hold, or none",
	    admin_bucket_quota },
	{ "POST", "/usage", "account: what it holds; without: all", admin_usage_list },
	{ "POST", "/usage/quota", "account, bytes, objects: how much it may hold, or none",
	    admin_account_quota },
	{ "POST", "/uploads", "bucket: uploads that were begun", admin_upload_list },
	{ "POST", "/objects", "bucket, prefix, after: versions, 1,000 at most", admin_object_list },
	{ "POST", "/objects/show", "bucket, key: versions with all that is known of them",
	    admin_object_show },
	{ "POST", "/objects/verify", "bucket, key: reads all bytes of all versions",
	    admin_object_verify },
};
const size_t walrus_admin_verb_count = ARRAY_SIZE(walrus_admin_verbs);
