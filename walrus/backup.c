/* The order keeps the promise: the row is there before the copy is taken, so what becomes garbage
 * after the copy was taken knows of the backup (queries.def, GARBAGE_ADD) and stays. */
#include "backup.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/fs.h"
#include "schema.h"

struct change {
	int64_t id, changed;
	struct strbuf *out;
	const struct walrus *walrus;
};

static char *
path_of(const struct walrus *w, int64_t id)
{
	return xasprintf("%s/backups/%lld.db", w->conf->daemon.state_dir, (long long)id);
}

/* Numbers are times, and never come again. */
static int
insert(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct change *c = arg;
	int r = store_query_one(tx, Q_BACKUP_NEWEST, &rows, "newest backup", e);

	if (r < 0)
		return r;
	c->id = store_now_us(tx);
	if (c->id <= store_int(rows, 0))
		c->id = store_int(rows, 0) + 1;
	return store_exec(tx, Q_BACKUP_INSERT, NULL, e, c->id, store_now_us(tx));
}

static int delete (struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;

	return store_exec(tx, Q_BACKUP_DELETE, &c->changed, e, c->id);
}

int
backup_make(struct walrus *w, int64_t *ret_id, struct err *e)
{
	_cleanup_free_ char *directory = xasprintf("%s/backups", w->conf->daemon.state_dir);
	_cleanup_free_ char *path = NULL;
	struct change c = { 0 };
	struct err ignored;
	int r = fs_mkdir_p(directory, 0700, e);

	if (r == 0)
		r = store_write(w->store, insert, &c, e);
	if (r < 0)
		return r;
	path = path_of(w, c.id);
	r = store_backup(w->store, path, e);
	if (r < 0) {
		(void)store_write(w->store, delete, &c, &ignored); /* else it is shown as missing */
		return r;
	}
	log_info(w->log, "backup.made", "path=\"%s\"", path);
	*ret_id = c.id;
	return 0;
}

int
backup_drop(struct walrus *w, int64_t id, struct err *e)
{
	_cleanup_free_ char *path = path_of(w, id);
	struct change c = { .id = id };
	int r;

	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "cannot remove '%s'", path);
	r = store_write(w->store, delete, &c, e);
	if (r < 0)
		return r;
	if (!c.changed)
		return err_set(e, ERR_NOT_FOUND, "there is no backup '%lld'", (long long)id);
	log_info(w->log, "backup.dropped", "path=\"%s\"", path);
	reconciler_poke(w->garbage);
	return 0;
}

static int
print(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *held = NULL;
	struct change *c = arg;
	int r = store_query(tx, Q_BACKUPS, &rows, e);

	strbuf_reset(c->out);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		_cleanup_free_ char *path = path_of(c->walrus, store_int(rows, 0));
		char made[TIME_TEXT_SIZE];
		struct stat st;

		time_format_iso(store_int(rows, 1), made);
		strbuf_addf(c->out, "%lld made=%s", (long long)store_int(rows, 0), made);
		if (stat(path, &st) == 0)
			strbuf_addf(c->out, " size=%lld path=%s\n", (long long)st.st_size, path);
		else
			strbuf_adds(c->out, " state=missing\n");
	}
	if (r == 0)
		r = store_query_one(tx, Q_GARBAGE_HELD, &held, "count", e);
	if (r == 0)
		strbuf_addf(c->out, "files held: %lld\n", (long long)store_int(held, 0));
	return r;
}

int
backup_describe(struct walrus *w, struct strbuf *out, struct err *e)
{
	struct change c = { .out = out, .walrus = w };

	return store_read(w->store, print, &c, e);
}
