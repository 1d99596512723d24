#pragma once
/* The way out of a node: the root disk of a stopped instance, flattened, as a gzipped tar archive of one raw
 * file, sent to where its spec says. */
#include "nc.h"

/* Whether a stopped instance's export has work left: its step is due. */
bool nc_export_is_due(const struct instance_record *i);
/* One step of it, on a worker: all of it when nothing comes in between. As nc_instance_step. */
int nc_export_step(struct nc_step *s, struct err *e);
/* Whatever exports left in the instance's directory goes. */
void nc_export_clear(struct nc *nc, const char *instance_id);

/* -- its parts, for tests -- */

/* Asked now and then, with the percentage done: false ends the work, ERR_CANCELLED. */
struct export_watch {
	bool (*goes_on)(void *arg, unsigned percent);
	void *arg;
};
/* Writes the raw file at `raw` to `path` as a gzipped tar archive of one file called `name`; holes are not
 * read. Durable under its name at return. Needs the same little memory however large it is. */
int nc_export_archive(const char *raw, const char *name, const char *path,
    const struct export_watch *watch, struct err *e);
