/* BucketLoggingStatus, and the format of lines and keys. */
#include "logging.h"

#include <stdio.h>
#include <time.h>

#include "bucket.h"
#include "request.h"

#define TEXT_MAX 1024
#define GRANTS_MAX 100
#define XSI "http://www.w3.org/2001/XMLSchema-instance"

/* -- the setting -- */

static const char *
read_text(xmlNode *parent, const char *name, struct arena *arena)
{
	xmlNode *node = parent ? xml_find(parent, name) : NULL;

	return node ? xml_text_of(node, TEXT_MAX, arena) : NULL;
}

static int
read_grant(xmlNode *node, struct arena *arena, struct logging_grant *g, struct err *e)
{
	static const char *const permissions[] = { "FULL_CONTROL", "READ", "WRITE" };
	xmlNode *grantee = xml_find(node, "Grantee");
	const char *permission = read_text(node, "Permission", arena);

	g->id = read_text(grantee, "ID", arena);
	g->display_name = read_text(grantee, "DisplayName", arena);
	g->uri = read_text(grantee, "URI", arena);
	g->email = read_text(grantee, "EmailAddress", arena);
	if (!!g->id + !!g->uri + !!g->email != 1)
		return setting_malformed(e);
	g->type = g->id ? "CanonicalUser" : g->uri ? "Group" : "AmazonCustomerByEmail";
	for (size_t i = 0; permission && i < ARRAY_SIZE(permissions); i++)
		if (strcmp(permission, permissions[i]) == 0)
			g->permission = permissions[i];
	return g->permission ? 0 : setting_malformed(e);
}

static int
read_grants(xmlNode *grants, struct arena *arena, struct logging *l, struct err *e)
{
	int r = 0;

	if (!grants)
		return 0;
	l->grants = arena_alloc(arena, GRANTS_MAX * sizeof(*l->grants));
	for (xmlNode *node = xml_first(grants); r == 0 && node; node = xml_next(node)) {
		if (!xml_is(node, NULL, "Grant") || l->grant_count == GRANTS_MAX)
			return setting_malformed(e);
		r = read_grant(node, arena, &l->grants[l->grant_count++], e);
	}
	return r;
}

static int
read_format(xmlNode *format, struct arena *arena, struct logging *l, struct err *e)
{
	xmlNode *partitioned;
	const char *source;

	if (!format)
		return 0;
	l->has_format = true;
	partitioned = xml_find(format, "PartitionedPrefix");
	if (!partitioned == !xml_find(format, "SimplePrefix"))
		return setting_malformed(e);
	if (!partitioned)
		return 0;
	l->is_partitioned = true;
	source = read_text(partitioned, "PartitionDateSource", arena);
	if (!source || (strcmp(source, "EventTime") != 0 && strcmp(source, "DeliveryTime") != 0))
		return setting_malformed(e);
	l->by_event_time = *source == 'E';
	return 0;
}

int
logging_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct logging *l = arena_alloc(arena, sizeof(*l));
	xmlNode *enabled;
	int r = setting_parse_xml(body, "BucketLoggingStatus", &doc, e);

	if (r < 0)
		return r;
	*ret = l;
	enabled = xml_find(xmlDocGetRootElement(doc), "LoggingEnabled");
	if (!enabled)
		return 0;
	l->bucket = read_text(enabled, "TargetBucket", arena);
	l->prefix = read_text(enabled, "TargetPrefix", arena);
	if (!l->bucket || !l->prefix || strlen(l->prefix) > S3_KEY_MAX - 256)
		return setting_malformed(e);
	r = read_grants(xml_find(enabled, "TargetGrants"), arena, l, e);
	return r < 0 ? r : read_format(xml_find(enabled, "TargetObjectKeyFormat"), arena, l, e);
}

static void
write_grants(struct xml_writer *w, const struct logging *l)
{
	if (l->grant_count == 0)
		return;
	xml_open(w, "TargetGrants");
	for (size_t i = 0; i < l->grant_count; i++) {
		const struct logging_grant *g = &l->grants[i];

		xml_open(w, "Grant");
		xml_open(w, "Grantee");
		xml_attribute(w, "xmlns:xsi", XSI);
		xml_attribute(w, "xsi:type", g->type);
		xml_element(w, "ID", g->id);
		xml_element(w, "DisplayName", g->display_name);
		xml_element(w, "EmailAddress", g->email);
		xml_element(w, "URI", g->uri);
		xml_close(w, "Grantee");
		xml_element(w, "Permission", g->permission);
		xml_close(w, "Grant");
	}
	xml_close(w, "TargetGrants");
}

void
logging_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const struct logging *l = value;

	if (!l || !l->bucket)
		return;
	xml_open(w, "LoggingEnabled");
	xml_element(w, "TargetBucket", l->bucket);
	write_grants(w, l);
	if (l->has_format) {
		xml_open(w, "TargetObjectKeyFormat");
		if (l->is_partitioned) {
			xml_open(w, "PartitionedPrefix");
			xml_element(w, "PartitionDateSource",
			    l->by_event_time ? "EventTime" : "DeliveryTime");
			xml_close(w, "PartitionedPrefix");
		} else {
			xml_empty(w, "SimplePrefix");
		}
		xml_close(w, "TargetObjectKeyFormat");
	}
	xml_element(w, "TargetPrefix", l->prefix);
	xml_close(w, "LoggingEnabled");
}

/* -- lines -- */

static void
add(struct strbuf *out, struct str value)
{
	strbuf_addc(out, ' ');
	if (value.p && value.n)
		strbuf_addstr(out, value);
	else
		strbuf_addc(out, '-');
}

static void
add_text(struct strbuf *out, const char *value)
{
	add(out, str_of(value));
}

static void
add_number(struct strbuf *out, int64_t n)
{
	if (n < 0)
		strbuf_adds(out, " -");
	else
		strbuf_addf(out, " %lld", (long long)n);
}

/* What a client chose: nothing in it may end the field or the line. */
static void
add_bare(struct strbuf *out, struct str value, bool is_quoted)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c < 0x20 || c == 0x7f || c == '"' || (c == ' ' && !is_quoted))
			strbuf_addf(out, "%%%02X", c);
		else
			strbuf_addc(out, (char)c);
	}
}

static void
add_quoted(struct strbuf *out, struct str value)
{
	strbuf_adds(out, " \"");
	if (value.p && value.n)
		add_bare(out, value, true);
	else
		strbuf_addc(out, '-');
	strbuf_addc(out, '"');
}

static void
add_time(struct strbuf *out, int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	char text[40];

	(void)gmtime_r(&seconds, &tm);
	(void)strftime(text, sizeof(text), " [%d/%b/%Y:%H:%M:%S +0000]", &tm);
	strbuf_adds(out, text);
}

static void
add_request(struct strbuf *out, const struct logging_record *r)
{
	strbuf_adds(out, " \"");
	add_bare(out, r->method, false);
	strbuf_addc(out, ' ');
	add_bare(out, r->uri, false);
	strbuf_adds(out, " HTTP/1.1\"");
}

void
logging_format(const struct logging_record *r, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;

	url_encode(&key, r->key, true);
	strbuf_adds(out, r->owner);
	add_text(out, r->bucket);
	add_time(out, r->at_us);
	add(out, r->remote);
	add(out, r->requester);
	add(out, r->request_id);
	add_text(out, r->operation);
	add(out, strbuf_str(&key));
	add_request(out, r);
	strbuf_addf(out, " %d", r->status);
	add_text(out, r->error_code);
	add_number(out, r->sent > 0 ? r->sent : -1);
	add_number(out, r->object_size);
	add_number(out, r->total_ms);
	add_number(out, r->turn_around_ms);
	add_quoted(out, r->referer);
	add_quoted(out, r->agent);
	add_text(out, r->version_id);
	add(out, r->host_id);
	add_text(out, r->signature);
	add_text(out, r->cipher);
	add_text(out, r->authentication);
	strbuf_addc(out, ' ');
	if (r->host.n)
		add_bare(out, r->host, false);
	else
		strbuf_addc(out, '-');
	add_text(out, r->tls_version);
	strbuf_adds(out, " - -\n"); /* no access points; whether an ACL was needed is not told */
}

char *
logging_key(const struct logging *l, const char *account_id, const char *region, const char *bucket,
    int64_t event_us, int64_t now_us, const char *unique)
{
	time_t seconds =
	    (time_t)((l->is_partitioned && l->by_event_time ? event_us : now_us) / 1000000);
	struct tm tm;
	char day[16], stamp[32];

	(void)gmtime_r(&seconds, &tm);
	(void)strftime(day, sizeof(day), "%Y/%m/%d", &tm);
	/* by the time of events only the day counts */
	(void)strftime(stamp, sizeof(stamp),
	    l->is_partitioned && l->by_event_time ? "%Y-%m-%d-00-00-00" : "%Y-%m-%d-%H-%M-%S", &tm);
	if (!l->is_partitioned)
		return xasprintf("%s%s-%s", l->prefix, stamp, unique);
	return xasprintf(
	    "%s%s/%s/%s/%s/%s-%s", l->prefix, account_id, region, bucket, day, stamp, unique);
}
