#pragma once
/* Access logs: a line for each request of a bucket, in the format of Amazon S3 server access logs, delivered as
 * objects to another bucket. "Logging requests with server access logging" of the user guide.
 *
 * As there, it is best effort: lines are gathered in memory and delivered every access_log_interval, when there
 * are many, and at the end of the process. A process that is killed loses those of that time; lines of more than
 * can be held, or for a bucket that does not take them, are dropped and counted. */
#include "base/strbuf.h"
#include "setting.h"

struct walrus;

struct logging_grant { /* kept and told: objects of logs belong to the owner of their bucket */
	const char *type, *id, *display_name, *uri, *email, *permission;
};
struct logging { /* the setting's value */
	const char *bucket; /* where to; NULL: nowhere */
	const char *prefix;
	bool is_partitioned, by_event_time;
	bool has_format; /* it was said */
	struct logging_grant *grants;
	size_t grant_count;
};
int logging_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void logging_write(struct request *rq, struct xml_writer *w, const void *value);
int logging_check(struct request *rq, const void *value, struct err *e); /* of its target */

/* -- a line -- */
struct logging_record { /* p NULL, or -1: "-" */
	const char *owner, *bucket;
	int64_t at_us;
	struct str remote, requester, request_id;
	const char *operation; /* "REST.GET.OBJECT" */
	struct str key, method, uri;
	int status;
	const char *error_code;
	int64_t sent, object_size, total_ms, turn_around_ms;
	struct str referer, agent;
	const char *version_id;
	struct str host_id;
	const char *signature, *cipher, *authentication;
	struct str host;
	const char *tls_version;
};
void logging_format(const struct logging_record *r, struct strbuf *out); /* with its line end */
/* "photos/2026/...": where what was gathered now goes. */
char *logging_key(const struct logging *l, const char *account_id, const char *region,
    const char *bucket, int64_t event_us, int64_t now_us, const char *unique);

/* -- gathering and delivering: logging_run.c -- */
struct logs;
struct logs *logs_new(struct walrus *w);
void logs_free(struct logs *l); /* delivers what there is */
DEFINE_CLEANUP(struct logs *, logs_free)
/* A request that failed before its bucket was looked at: on a worker. */
void logging_find_bucket(struct request *rq);
/* The request is over: any thread. */
void logging_note(struct request *rq);
int logging_run(void *arg, uint32_t *ret_again_ms, struct err *e); /* the reconciler */
