/* What is asked of walrus: buckets, objects, usage, and the upkeep of what is stored. */
#include "base/alloc.h"
#include "command.h"

/* A POST of up to four pairs; a NULL value is left out. */
static int
post(const struct options *o, const char *path, const char *const pairs[8])
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	for (size_t i = 0; i < 8 && pairs[i]; i += 2)
		add_pair(&form, pairs[i], pairs[i + 1]);
	return ask(o, path, strbuf_c(&form));
}
#define POST(o, path, ...) post(o, path, (const char *const[8]){ __VA_ARGS__ })

static int
run_bucket_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/buckets", "account", o->account);
}

static int
run_bucket_show(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/buckets/show", "bucket", arguments[0]);
}

static int
run_bucket_quota(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(
	    o, "/buckets/quota", "bucket", arguments[0], "bytes", o->bytes, "objects", o->objects);
}

static int
run_upload_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/uploads", "bucket", arguments[0]);
}

static int
run_usage(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/usage", "account", o->account);
}

static int
run_usage_quota(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(
	    o, "/usage/quota", "account", arguments[0], "bytes", o->bytes, "objects", o->objects);
}

static int
run_object_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/objects", "bucket", arguments[0], "prefix", o->prefix);
}

static int
run_object_show(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/objects/show", "bucket", arguments[0], "key", arguments[1]);
}

static int
run_object_verify(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/objects/verify", "bucket", arguments[0], "key", arguments[1]);
}

static int
run_scrub(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/scrub", NULL);
}

static int
run_scrub_start(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/scrub/start", "");
}

static int
run_orphan(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/orphans", NULL);
}

static int
run_orphan_release(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/orphans/release", "");
}

static int
run_backup_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/backups", NULL);
}

static int
run_backup_make(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/backups", "");
}

static int
run_backup_drop(const struct options *o, const char *const *arguments, unsigned count)
{
	return POST(o, "/backups/drop", "backup", arguments[0]);
}

#define WALRUS "walrus"
const struct command walrus_commands[] = {
	{ "bucket list", "", 0, 0, "buckets with what they hold", run_bucket_list, WALRUS },
	{ "bucket show", "BUCKET", 1, 1, "one with usage, quotas and settings", run_bucket_show,
	    WALRUS },
	{ "bucket quota", "BUCKET", 1, 1, "sets with --bytes and --objects how much it may hold",
	    run_bucket_quota, WALRUS },
	{ "upload list", "BUCKET", 1, 1, "uploads in parts that were begun", run_upload_list,
	    WALRUS },
	{ "usage", "", 0, 0, "what the accounts hold in their buckets", run_usage, WALRUS },
	{ "usage quota", "ACCOUNT", 1, 1, "sets with --bytes and --objects how much it may hold",
	    run_usage_quota, WALRUS },
	{ "object list", "BUCKET", 1, 1, "objects with all versions, 1,000 at most",
	    run_object_list, WALRUS },
	{ "object show", "BUCKET KEY", 2, 2, "versions with extents, files and sums",
	    run_object_show, WALRUS },
	{ "object verify", "BUCKET KEY", 2, 2, "reads all bytes of all versions", run_object_verify,
	    WALRUS },
	{ "scrub", "", 0, 0, "the last checks of all bytes, and what is damaged", run_scrub,
	    WALRUS },
	{ "scrub start", "", 0, 0, "begins one", run_scrub_start, WALRUS },
	{ "orphan", "", 0, 0, "files that nothing names, at the last look", run_orphan, WALRUS },
	{ "orphan release", "", 0, 0, "lets those be removed that are held after a restoration",
	    run_orphan_release, WALRUS },
	{ "backup list", "", 0, 0, "copies of walrus' store, and what they hold up",
	    run_backup_list, WALRUS },
	{ "backup make", "", 0, 0, "makes one while objects are read and written", run_backup_make,
	    WALRUS },
	{ "backup drop", "BACKUP", 1, 1, "it goes, and the files that only it names",
	    run_backup_drop, WALRUS },
};
const size_t walrus_command_count = ARRAY_SIZE(walrus_commands);
