/* The metadata tree. One table names every path with the function that yields its value; a
 * directory's listing is made from the paths below it, so nothing can be listed and absent, or
 * present and hidden.
 * "*" in a path stands for the MAC of each interface, "#" for what the instance has several of:
 * ephemeral disks and tags. Values that an instance does not have (no
 * key, no kernel, no public address) are absent: 404, as Amazon's service does it. A directory
 * answers with and without its final slash; so does a value, for clients that add one. All versions
 * serve the same tree. */
#include "metadata.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "net/http.h"

#define IDENTITY_VERSION "2017-09-30" /* of the identity document's own format */

static const char *const versions[] = { "1.0", "2007-01-19", "2007-03-01", "2007-08-29",
	"2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "2011-01-01",
	"2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
	"2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01",
	"2020-10-27", "2021-01-03", "2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11",
	"latest" };

struct context {
	const struct metadata_source *source;
	const struct instance_spec *spec;
	const struct network_interface *interface; /* the first, or the one of "*"; may be NULL */
	size_t interface_index;
	size_t item; /* of "#" */
	struct arena *arena;
};
/* The value; p NULL: absent. */
typedef struct str (*value_fn)(const struct context *c);

/* -- values -- */

static const struct str absent = { NULL, 0 };

static struct str
text(const char *s)
{
	return s && s[0] ? str_of(s) : absent;
}

static struct str
joined(const struct context *c, const char *const *items, size_t count)
{
	struct strbuf b = STRBUF_INIT;
	struct str s = absent;

	for (size_t i = 0; i < count; i++) {
		if (i)
			strbuf_addc(&b, '\n');
		strbuf_adds(&b, items[i]);
	}
	if (b.n)
		s = str_of(arena_str(c->arena, strbuf_str(&b)));
	strbuf_done(&b);
	return s;
}

static struct str
ami_id(const struct context *c)
{
	return c->spec->image ? text(c->spec->image->image_id) : absent;
}

static struct str
ami_launch_index(const struct context *c)
{
	return str_of(arena_printf(c->arena, "%u", c->spec->launch_index));
}

static struct str
ami_manifest_path(const struct context *c)
{
	return STR("(unknown)");
}

static struct str
block_device_root_name(const struct context *c)
{
	return STR("vda");
}

static struct str
block_device_root(const struct context *c)
{
	return STR("/dev/vda");
}

/* What the guest sees: the disks come in the order of the mapping. */
static struct str
block_device_ephemeral(const struct context *c)
{
	return str_of(arena_printf(c->arena, "vd%c", (char)('b' + c->item)));
}

static struct str
group_name(const struct context *c)
{
	return c->spec->placement ? text(c->spec->placement->group_name) : absent;
}

static struct str
partition_number(const struct context *c)
{
	const struct placement_spec *p = c->spec->placement;

	return p && p->partition_number ? str_of(arena_printf(c->arena, "%u", p->partition_number))
					: absent;
}

static struct str
tag_value(const struct context *c)
{
	const char *value = c->spec->tags.items[c->item].value;

	return value ? str_of(value) : STR("");
}

static struct str
full_hostname(const struct context *c)
{
	return str_of(arena_printf(c->arena, "%s.%s", c->spec->hostname, c->spec->domain));
}

static struct str
instance_action(const struct context *c)
{
	return STR("none");
}

static struct str
instance_id(const struct context *c)
{
	return text(c->spec->instance_id);
}

static struct str
instance_life_cycle(const struct context *c)
{
	return STR("on-demand");
}

static struct str
instance_type(const struct context *c)
{
	return text(c->spec->instance_type);
}

static struct str
kernel_id(const struct context *c)
{
	return c->spec->kernel ? text(c->spec->kernel->image_id) : absent;
}

static struct str
ramdisk_id(const struct context *c)
{
	return c->spec->ramdisk ? text(c->spec->ramdisk->image_id) : absent;
}

static struct str
local_ipv4(const struct context *c)
{
	return c->interface ? text(c->interface->private_ip) : absent;
}

static struct str
public_ipv4(const struct context *c)
{
	return c->interface ? text(c->interface->public_ip) : absent;
}

/* The node's DNS answers this name (dns.h). */
static struct str
public_hostname(const struct context *c)
{
	char *name;

	if (!c->interface || !text(c->interface->public_ip).p)
		return absent;
	name = arena_printf(c->arena, "ec2-%s.%s", c->interface->public_ip, c->spec->domain);
	for (size_t i = 4; i < 4 + strlen(c->interface->public_ip); i++) {
		if (name[i] == '.')
			name[i] = '-';
	}
	return str_of(name);
}

static struct str
mac(const struct context *c)
{
	return c->interface ? text(c->interface->mac) : absent;
}

static struct str
metrics_vhostmd(const struct context *c)
{
	return STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
}

static struct str
device_number(const struct context *c)
{
	return str_of(arena_printf(c->arena, "%zu", c->interface_index));
}

static struct str
interface_id(const struct context *c)
{
	return text(c->interface->interface_id);
}

static struct str
association(const struct context *c)
{
	return text(c->interface->public_ip).p ? text(c->interface->private_ip) : absent;
}

static struct str
owner_id(const struct context *c)
{
	return text(c->spec->account_id);
}

static struct str
interface_group_ids(const struct context *c)
{
	return joined(
	    c, (const char *const *)c->interface->group_ids.items, c->interface->group_ids.count);
}

static struct str
security_groups(const struct context *c)
{
	return joined(
	    c, (const char *const *)c->spec->security_groups.items, c->spec->security_groups.count);
}

static struct str
subnet_id(const struct context *c)
{
	return text(c->interface->subnet_id);
}

static struct str
subnet_cidr(const struct context *c)
{
	return text(c->interface->subnet_cidr);
}

static struct str
vpc_id(const struct context *c)
{
	return text(c->interface->vpc_id);
}

static struct str
vpc_cidr(const struct context *c)
{
	return text(c->source->vpc_cidr);
}

static struct str
zone(const struct context *c)
{
	return text(c->spec->zone);
}

static struct str
region(const struct context *c)
{
	return text(c->spec->region);
}

static struct str
profile(const struct context *c)
{
	return c->spec->kernel ? STR("default-paravirtual") : STR("default-hvm");
}

static struct str
public_key(const struct context *c)
{
	struct str key = str_trim(text(c->spec->public_key));

	while (key.n && (key.p[key.n - 1] == '\n' || key.p[key.n - 1] == '\r'))
		key.n--;
	return key.n ? str_of(arena_printf(c->arena, "%.*s\n", (int)key.n, key.p)) : absent;
}

static struct str
reservation_id(const struct context *c)
{
	return text(c->spec->reservation_id);
}

static struct str
services_domain(const struct context *c)
{
	return STR("amazonaws.com");
}

static struct str
services_partition(const struct context *c)
{
	return STR("aws");
}

static struct str
instance_monitoring(const struct context *c)
{
	return STR("disabled");
}

static struct str
user_data(const struct context *c)
{
	return c->spec->user_data.n ? c->spec->user_data : absent;
}

static void
add_json(struct strbuf *b, const char *name, struct str value)
{
	if (b->n > 1)
		strbuf_addc(b, ',');
	strbuf_addf(b, "\n  \"%s\" : ", name);
	if (!value.p) {
		strbuf_adds(b, "null");
		return;
	}
	strbuf_addc(b, '"');
	for (size_t i = 0; i < value.n; i++) {
		unsigned char ch = (unsigned char)value.p[i];

		if (ch < 0x20)
			strbuf_addf(b, "\\u%04x", ch);
		else if (ch == '"' || ch == '\\')
			strbuf_addf(b, "\\%c", ch);
		else
			strbuf_addc(b, (char)ch);
	}
	strbuf_addc(b, '"');
}

static struct str
identity_document(const struct context *c)
{
	struct strbuf b = STRBUF_INIT;
	char pending[TIME_TEXT_SIZE];
	struct str body;

	time_format_iso(c->spec->launch_time, pending);
	(void)snprintf(pending + 19, sizeof(pending) - 19, "Z"); /* whole seconds */
	strbuf_addc(&b, '{');
	add_json(&b, "accountId", owner_id(c));
	add_json(&b, "architecture", STR("x86_64"));
	add_json(&b, "availabilityZone", zone(c));
	add_json(&b, "billingProducts", absent);
	add_json(&b, "devpayProductCodes", absent);
	add_json(&b, "marketplaceProductCodes", absent);
	add_json(&b, "imageId", ami_id(c));
	add_json(&b, "instanceId", instance_id(c));
	add_json(&b, "instanceType", instance_type(c));
	add_json(&b, "kernelId", kernel_id(c));
	add_json(&b, "pendingTime", str_of(pending));
	add_json(&b, "privateIp", local_ipv4(c));
	add_json(&b, "ramdiskId", ramdisk_id(c));
	add_json(&b, "region", region(c));
	add_json(&b, "version", STR(IDENTITY_VERSION));
	strbuf_adds(&b, "\n}");
	body = str_of(arena_str(c->arena, strbuf_str(&b)));
	strbuf_done(&b);
	return body;
}

/* -- the table: in the order of listings -- */

#define MACS "meta-data/network/interfaces/macs/*/"
#define EPHEMERALS "meta-data/block-device-mapping/"
#define TAGS "meta-data/tags/instance/"

static const struct {
	const char *path;
	value_fn value;
} rows[] = {
	{ "dynamic/fws/instance-monitoring", instance_monitoring },
	{ "dynamic/instance-identity/document", identity_document },
	{ "meta-data/ami-id", ami_id },
	{ "meta-data/ami-launch-index", ami_launch_index },
	{ "meta-data/ami-manifest-path", ami_manifest_path },
	{ "meta-data/block-device-mapping/ami", block_device_root_name },
	{ EPHEMERALS "#", block_device_ephemeral },
	{ "meta-data/block-device-mapping/root", block_device_root },
	{ "meta-data/hostname", full_hostname },
	{ "meta-data/instance-action", instance_action },
	{ "meta-data/instance-id", instance_id },
	{ "meta-data/instance-life-cycle", instance_life_cycle },
	{ "meta-data/instance-type", instance_type },
	{ "meta-data/kernel-id", kernel_id },
	{ "meta-data/local-hostname", full_hostname },
	{ "meta-data/local-ipv4", local_ipv4 },
	{ "meta-data/mac", mac },
	{ "meta-data/metrics/vhostmd", metrics_vhostmd },
	{ MACS "device-number", device_number },
	{ MACS "interface-id", interface_id },
	{ MACS "ipv4-associations/@", association }, /* "@": the public address */
	{ MACS "local-hostname", full_hostname },
	{ MACS "local-ipv4s", local_ipv4 },
	{ MACS "mac", mac },
	{ MACS "owner-id", owner_id },
	{ MACS "public-hostname", public_hostname },
	{ MACS "public-ipv4s", public_ipv4 },
	{ MACS "security-group-ids", interface_group_ids },
	{ MACS "security-groups", security_groups },
	{ MACS "subnet-id", subnet_id },
	{ MACS "subnet-ipv4-cidr-block", subnet_cidr },
	{ MACS "vpc-id", vpc_id },
	{ MACS "vpc-ipv4-cidr-block", vpc_cidr },
	{ MACS "vpc-ipv4-cidr-blocks", vpc_cidr },
	{ "meta-data/placement/availability-zone", zone },
	{ "meta-data/placement/group-name", group_name },
	{ "meta-data/placement/partition-number", partition_number },
	{ "meta-data/placement/region", region },
	{ "meta-data/profile", profile },
	{ "meta-data/public-hostname", public_hostname },
	{ "meta-data/public-ipv4", public_ipv4 },
	{ "meta-data/public-keys/0/openssh-key", public_key },
	{ "meta-data/ramdisk-id", ramdisk_id },
	{ "meta-data/reservation-id", reservation_id },
	{ "meta-data/security-groups", security_groups },
	{ "meta-data/services/domain", services_domain },
	{ "meta-data/services/partition", services_partition },
	{ TAGS "#", tag_value },
	{ "user-data", user_data },
};

/* -- lookup -- */

struct search {
	struct str path; /* without version and slashes at the ends */
	bool is_found;   /* a value has this very path */
	struct str value;
	struct strbuf listing; /* children, if it is a directory */
	struct str last;       /* the latest child listed: neighbours repeat */
};

/* The row's path for one interface. */
static struct str
expand(const struct context *c, const char *pattern)
{
	struct strbuf b = STRBUF_INIT;
	struct str path;

	for (const char *p = pattern; *p; p++) {
		if (*p == '*')
			strbuf_adds(&b, c->interface->mac ? c->interface->mac : "");
		else if (*p == '@')
			strbuf_adds(&b, c->interface->public_ip ? c->interface->public_ip : "");
		else
			strbuf_addc(&b, *p);
	}
	path = str_of(arena_str(c->arena, strbuf_str(&b)));
	strbuf_done(&b);
	return path;
}

static void
visit(const struct context *c, struct str path, value_fn fn, struct search *s)
{
	struct str child;
	const char *slash;

	if (path.n < s->path.n || memcmp(path.p, s->path.p, s->path.n) != 0)
		return;
	if (path.n == s->path.n) {
		s->value = fn(c);
		s->is_found = s->value.p != NULL;
		return;
	}
	if (s->path.n && path.p[s->path.n] != '/')
		return;
	if (!fn(c).p)
		return;
	child.p = path.p + s->path.n + (s->path.n ? 1 : 0);
	child.n = path.n - (size_t)(child.p - path.p);
	slash = memchr(child.p, '/', child.n);
	if (slash)
		child.n = (size_t)(slash - child.p) + 1;
	if (str_eq(child, s->last))
		return;
	if (s->listing.n)
		strbuf_addc(&s->listing, '\n');
	strbuf_addstr(&s->listing, child);
	s->last = child;
}

/* "public-keys" lists "0=name" instead of its children. */
static bool
list_keys(const struct context *c, struct search *s)
{
	const char *name = c->spec->key_name ? c->spec->key_name : "";

	if (!str_is(s->path, "meta-data/public-keys") || !s->listing.n)
		return false;
	strbuf_reset(&s->listing);
	strbuf_addf(&s->listing, "0=%s", name);
	return true;
}

/* The names that "#" of a row stands for. */
static size_t
item_count(const struct instance_spec *spec, const char *path)
{
	if (str_starts(str_of(path), TAGS))
		return strings_equal(spec->instance_metadata_tags, "enabled") ? spec->tags.count
									      : 0;
	return spec->ephemeral_disks.count ? spec->ephemeral_disks.count : spec->ephemeral_gib > 0;
}

static const char *
item_name(const struct context *c, const char *path)
{
	if (str_starts(str_of(path), TAGS))
		return c->spec->tags.items[c->item].key;
	return c->spec->ephemeral_disks.count ? c->spec->ephemeral_disks.items[c->item].virtual_name
					      : "ephemeral0";
}

static void
visit_items(struct context *c, const char *path, value_fn fn, struct search *s)
{
	size_t count = item_count(c->spec, path);

	for (c->item = 0; c->item < count; c->item++) {
		const char *name = item_name(c, path);

		/* A key that a path can't hold is not shown, as with Amazon. */
		if (name && name[0] && !strpbrk(name, "/ "))
			visit(c,
			    str_of(arena_printf(
				c->arena, "%.*s%s", (int)strlen(path) - 1, path, name)),
			    fn, s);
	}
}

/* Interfaces are visited row by row within each, so that a directory's children stay together. */
static void
search_rows(struct context *c, struct search *s)
{
	const struct instance_spec *spec = c->spec;

	for (size_t i = 0; i < ARRAY_SIZE(rows);) {
		size_t end = i;

		c->interface_index = 0;
		c->interface = spec->interfaces.count ? &spec->interfaces.items[0] : NULL;
		if (!str_starts(str_of(rows[i].path), MACS)) {
			if (strchr(rows[i].path, '#'))
				visit_items(c, rows[i].path, rows[i].value, s);
			else
				visit(c, str_of(rows[i].path), rows[i].value, s);
			i++;
			continue;
		}
		while (end < ARRAY_SIZE(rows) && str_starts(str_of(rows[end].path), MACS))
			end++;
		for (size_t k = 0; k < spec->interfaces.count; k++) {
			c->interface_index = k;
			c->interface = &spec->interfaces.items[k];
			for (size_t j = i; j < end; j++)
				visit(c, expand(c, rows[j].path), rows[j].value, s);
		}
		i = end;
	}
}

static struct metadata_answer
answer(int status, struct str body)
{
	return (struct metadata_answer){ status, body, "text/plain" };
}

static struct metadata_answer
list_versions(struct arena *arena)
{
	struct context c = { .arena = arena };

	return answer(200, joined(&c, versions, ARRAY_SIZE(versions)));
}

static bool
is_version(struct str s)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		if (str_is(s, versions[i]))
			return true;
	}
	return false;
}

struct metadata_answer
metadata_get(const struct metadata_source *source, const char *path, struct arena *arena)
{
	struct context c = { .source = source, .spec = source->spec, .arena = arena };
	struct search s = { .listing = STRBUF_INIT, .last = { "", 0 } };
	struct metadata_answer a = answer(404, absent);
	struct str rest = str_of(path), version;

	if (rest.n == 0 || rest.p[0] != '/' || rest.n > METADATA_PATH_MAX)
		return a;
	rest = (struct str){ rest.p + 1, rest.n - 1 };
	if (rest.n == 0)
		return list_versions(arena);
	if (!str_split(&rest, '/', &version) || !is_version(version))
		return a;
	s.path = rest.p ? rest : STR("");
	if (s.path.n && s.path.p[s.path.n - 1] == '/')
		s.path.n--;
	if (rest.n && !s.path.n) /* "/latest//" */
		return a;
	search_rows(&c, &s);
	if (s.is_found) {
		a = answer(200, s.value);
		if (str_is(s.path, "user-data"))
			a.content_type = "application/octet-stream";
	} else if (s.listing.n) {
		(void)list_keys(&c, &s);
		a = answer(200, str_of(arena_str(arena, strbuf_str(&s.listing))));
	}
	strbuf_done(&s.listing);
	return a;
}

char *
metadata_error_body(int status, struct arena *arena)
{
	const char *reason = http_reason(status);

	return arena_printf(arena,
	    "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n"
	    "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
	    "\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n"
	    "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n"
	    " <head>\n  <title>%d - %s</title>\n </head>\n"
	    " <body>\n  <h1>%d - %s</h1>\n </body>\n</html>\n",
	    status, reason, status, reason);
}
