/* The file of a store as a file: made, made to last, copied. */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <unistd.h>

#include "run/fd.h"
#include "run/fs.h"

/* SQLite would make the file readable for everybody; its log and journal follow the file's mode. */
int
file_make_private(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", path);
	fd_close(fd); /* drops POSIX locks on the file: nobody in this process has it open yet */
	return 0;
}

int
file_sync_parent(const char *path, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);

	return fs_sync_directory(dirname(copy), e);
}

static int
copy_pages(struct conn *from, const char *path, struct err *e)
{
	sqlite3_backup *backup;
	sqlite3 *to = NULL;
	int rc;

	rc = sqlite3_open_v2(
	    path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	backup = rc == SQLITE_OK ? sqlite3_backup_init(to, "main", from->db, "main") : NULL;
	if (backup) {
		/* All pages in one step: one snapshot, and a log file has no lock to hold up
		 * writers. */
		(void)sqlite3_backup_step(backup, -1);
		rc = sqlite3_backup_finish(backup);
	} else if (rc == SQLITE_OK) {
		rc = sqlite3_errcode(to);
	}
	/* A copy stands alone, without a log, and has no epoch. */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(to, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL",
		    NULL, NULL, NULL);
	if (rc == SQLITE_OK && sqlite3_table_column_metadata(to, NULL, "meta", NULL, NULL, NULL,
				   NULL, NULL, NULL) == SQLITE_OK)
		rc = sqlite3_exec(to, "DELETE FROM meta WHERE name = 'epoch'", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		(void)err_set(e, (rc & 0xff) == SQLITE_FULL ? ERR_NO_SPACE : ERR_IO,
		    "cannot write '%s': %s", path, to ? sqlite3_errmsg(to) : sqlite3_errstr(rc));
	(void)sqlite3_close(to);
	if (rc == SQLITE_OK)
		return 0;
	return (rc & 0xff) == SQLITE_FULL ? ERR_NO_SPACE : ERR_IO;
}

static int
sync_file(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set_errno(e, errno, "cannot sync '%s'", path);
	return 0;
}

int
store_backup(struct store *s, const char *path, struct err *e)
{
	_cleanup_free_ char *temporary = xasprintf("%s.new", path);
	_cleanup_(conn_freep) struct conn *from = NULL;
	int r;

	r = conn_new(s, s->path, false, &from, e);
	if (r < 0)
		return r;
	if (unlink(temporary) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "cannot remove '%s'", temporary);
	r = file_make_private(temporary, e);
	if (r >= 0)
		r = copy_pages(from, temporary, e);
	if (r >= 0)
		r = sync_file(temporary, e);
	if (r >= 0 && rename(temporary, path) < 0)
		r = err_set_errno(e, errno, "cannot rename '%s' to '%s'", temporary, path);
	if (r < 0) {
		(void)unlink(temporary); /* the error is in e */
		return r;
	}
	return file_sync_parent(path, e);
}
