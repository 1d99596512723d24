/* mallee-admin type: the administrator's view of instance types. A change is for launches to come:
 * each instance has a copy of what its type was when it was launched, and keeps it. */
#include <stdio.h>

#include "net/url.h"
#include "store/outbox.h"

#include "admin.h"
#include "instance_type.h"

#define NAME_MAX_LENGTH 64
#define DESCRIPTION_MAX 255
#define VCPUS_MAX 512
#define MEMORY_MIN_MIB 16
#define MEMORY_MAX_MIB (16 << 20)
#define DISK_MAX_GIB 65536
#define SHARES_MIN 2 /* of the kernel's cpu controller */
#define SHARES_MAX 262144
#define FIELDS_MAX 16

struct type_change {
	struct clc *clc;
	struct http_call *call;
	struct form form;
	const char *name;
	bool is_new;
	int64_t users, stopped;
};

static void
fail(struct http_call *call, const struct err *e)
{
	call->status = fault_status(e->code);
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", e->text);
}

/* -- list -- */

static int
print_types(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct type_change *c = arg;
	struct strbuf *out = &c->call->reply;
	int r = store_query(tx, Q_INSTANCE_TYPES, &rows, e);

	strbuf_reset(out);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_instance_type t;

		clc_instance_type_read(rows, c->call->arena, &t);
		strbuf_addf(out,
		    "%s vcpus=%lld memory_mib=%lld root_disk_gib=%lld ephemeral=", t.name,
		    (long long)t.vcpus, (long long)t.memory_mib, (long long)t.root_disk_gib);
		for (const char *p = t.ephemeral_disks ? t.ephemeral_disks : "none"; *p; p++)
			strbuf_addc(out, *p == ' ' ? ',' : *p);
		strbuf_addf(out, " cpu_shares=%lld pinned=%s", (long long)t.cpu_shares,
		    t.is_pinned ? "yes" : "no");
		if (t.description)
			strbuf_addf(out, " description=\"%s\"", t.description);
		strbuf_addc(out, '\n');
	}
	return r;
}

void
clc_instance_types_list(struct http_call *call, void *arg)
{
	struct type_change c = { .clc = arg, .call = call };
	struct err e = { 0 };

	call->content_type = "text/plain";
	if (store_read(c.clc->store, print_types, &c, &e) < 0)
		fail(call, &e);
}

/* -- what may be said of a type -- */

static bool
is_name(const char *name)
{
	const char *dot = strchr(name, '.');

	if (!dot || dot == name || !dot[1] || strchr(dot + 1, '.') ||
	    strlen(name) > NAME_MAX_LENGTH)
		return false;
	for (const char *p = name; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') && *p != '-' && p != dot)
			return false;
	return true;
}

static int
take_number(
    const char *key, const char *value, int64_t min, int64_t max, int64_t *ret, struct err *e)
{
	uint64_t n;

	if (!str_to_u64(str_of(value), &n) || n > (uint64_t)max || (int64_t)n < min)
		return err_set(e, ERR_INVALID, "%s is a number from %lld to %lld, not '%.40s'", key,
		    (long long)min, (long long)max, value);
	*ret = (int64_t)n;
	return 0;
}

static int
take_disks(const char *value, struct arena *arena, const char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct str rest = str_of(value), word;
	size_t count = 0;

	*ret = NULL;
	if (!value[0] || strcmp(value, "none") == 0)
		return 0;
	while (str_split(&rest, ',', &word)) {
		uint32_t size;

		if (!str_to_u32(word, &size) || size < 1 || size > DISK_MAX_GIB)
			return err_set(e, ERR_INVALID,
			    "ephemeral is 'none' or sizes in GiB from 1 to %d, one for each disk, "
			    "such as 4,4,10: not '%.40s'",
			    DISK_MAX_GIB, value);
		if (++count > INSTANCE_TYPE_DISKS_MAX)
			return err_set(e, ERR_INVALID, "a type has at most %d ephemeral disks",
			    INSTANCE_TYPE_DISKS_MAX);
		strbuf_addf(&out, "%s%u", out.n ? " " : "", size);
	}
	*ret = arena_str(arena, strbuf_str(&out));
	return 0;
}

static int
take_description(const char *value, struct arena *arena, const char **ret, struct err *e)
{
	*ret = value[0] ? arena_strdup(arena, value) : NULL;
	if (strlen(value) > DESCRIPTION_MAX)
		return err_set(
		    e, ERR_INVALID, "a description has at most %d characters", DESCRIPTION_MAX);
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == '"')
			return err_set(
			    e, ERR_INVALID, "a description is one line without quotation marks");
	return 0;
}

static int
take(struct clc_instance_type *t, const char *key, const char *value, struct arena *arena,
    struct err *e)
{
	if (strcmp(key, "vcpus") == 0)
		return take_number(key, value, 1, VCPUS_MAX, &t->vcpus, e);
	if (strcmp(key, "memory_mib") == 0)
		return take_number(key, value, MEMORY_MIN_MIB, MEMORY_MAX_MIB, &t->memory_mib, e);
	if (strcmp(key, "root_disk_gib") == 0)
		return take_number(key, value, 0, DISK_MAX_GIB, &t->root_disk_gib, e);
	if (strcmp(key, "ephemeral") == 0)
		return take_disks(value, arena, &t->ephemeral_disks, e);
	if (strcmp(key, "description") == 0)
		return take_description(value, arena, &t->description, e);
	if (strcmp(key, "cpu_shares") == 0) {
		t->cpu_shares = 0;
		return strcmp(value, "0") == 0
			   ? 0
			   : take_number(key, value, SHARES_MIN, SHARES_MAX, &t->cpu_shares, e);
	}
	if (strcmp(key, "pinned") == 0) {
		t->is_pinned = strcmp(value, "yes") == 0;
		return t->is_pinned || strcmp(value, "no") == 0
			   ? 0
			   : err_set(e, ERR_INVALID, "pinned is yes or no, not '%.40s'", value);
	}
	return err_set(e, ERR_INVALID,
	    "a type has vcpus, memory_mib, root_disk_gib, ephemeral, cpu_shares, pinned and "
	    "description, no '%.40s'",
	    key);
}

/* -- changing -- */

static int
record(struct store_tx *tx, const struct type_change *c, const char *action, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct audit_record audit = { .user_name = "administrator",
		.service = "admin",
		.action = action,
		.resource = c->name };
	int r;

	for (size_t i = 0; i < c->form.count; i++)
		strbuf_addf(&text, "%s%s=%.*s", i ? " " : "", c->form.fields[i].name,
		    (int)c->form.fields[i].value.n, c->form.fields[i].value.p);
	audit.parameters = strbuf_c(&text);
	r = audit_add(tx, &audit, e);
	return r == 0 ? outbox_add(tx, "instance-type", c->name, "", action, e) : r;
}

/* How many instances have a copy. */
static int
count_users(struct store_tx *tx, struct type_change *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_INSTANCE_TYPE_USERS, &rows, "count of instances", e, c->name);

	if (r < 0)
		return r;
	c->users = store_int(rows, 0);
	c->stopped = store_int(rows, 1);
	return 0;
}

static int
set_type(struct store_tx *tx, void *arg, struct err *e)
{
	struct type_change *c = arg;
	struct arena *arena = c->call->arena;
	struct clc_instance_type t = { 0 };
	int r = clc_instance_type_get(tx, c->name, arena, &t, e);

	c->is_new = r == ERR_INVALID_PARAMETER_VALUE;
	if (c->is_new) {
		err_clear(e);
		t = (struct clc_instance_type){ .name = c->name };
		r = 0;
	}
	for (size_t i = 0; r == 0 && i < c->form.count; i++) {
		const struct form_field *f = &c->form.fields[i];

		if (strcmp(f->name, "name") != 0)
			r = take(&t, f->name, arena_str(arena, f->value), arena, e);
	}
	if (r == 0 && (!t.vcpus || !t.memory_mib))
		r = err_set(e, ERR_INVALID, "a new type needs vcpus and memory_mib");
	if (r == 0)
		r = clc_instance_type_put(tx, &t, e);
	if (r == 0)
		r = count_users(tx, c, e);
	return r == 0 ? record(tx, c, c->is_new ? "CreateInstanceType" : "ModifyInstanceType", e)
		      : r;
}

static int
delete_type(struct store_tx *tx, void *arg, struct err *e)
{
	struct type_change *c = arg;
	int64_t changed = 0;
	int r;

	if (strcmp(c->name, DEFAULT_INSTANCE_TYPE) == 0)
		return err_set(e, ERR_CONFLICT,
		    "'%s' is what RunInstances takes when no type is named: it can be changed, not "
		    "deleted",
		    c->name);
	r = store_exec(tx, Q_INSTANCE_TYPE_DELETE, &changed, e, c->name);
	if (r == 0 && changed == 0)
		r = err_set(e, ERR_NOT_FOUND, "there is no instance type '%s'", c->name);
	if (r == 0)
		r = count_users(tx, c, e);
	return r == 0 ? record(tx, c, "DeleteInstanceType", e) : r;
}

static void
change(struct http_call *call, void *clc, store_fn fn)
{
	struct type_change c = { .clc = clc, .call = call };
	struct err e = { 0 };
	int r;

	call->content_type = "text/plain";
	r = form_parse(call->body, FIELDS_MAX, call->arena, &c.form, &e);
	c.name = r == 0 ? form_find(&c.form, "name") : NULL;
	if (r == 0 && (!c.name || !is_name(c.name)))
		r = err_set(&e, ERR_INVALID,
		    "a type's name is two words of small letters, digits and hyphens with a dot "
		    "between, such as m1.small");
	if (r == 0)
		r = store_write(c.clc->store, fn, &c, &e);
	if (r < 0) {
		fail(call, &e);
		return;
	}
	log_info(c.clc->log, "instance_type.changed", "type=%s", c.name);
	strbuf_addf(&call->reply, "%s %s\n", c.name,
	    fn == delete_type ? "deleted"
	    : c.is_new        ? "made"
			      : "changed");
	if (c.users)
		strbuf_addf(&call->reply,
		    "%lld instances of it, %lld of them stopped, keep what they were launched "
		    "with, also when they are started again\n",
		    (long long)c.users, (long long)c.stopped);
}

void
clc_instance_types_set(struct http_call *call, void *clc)
{
	change(call, clc, set_type);
}

void
clc_instance_types_delete(struct http_call *call, void *clc)
{
	change(call, clc, delete_type);
}
