/* Named conditions behind /readyz. A condition that must be refreshed counts as broken when nobody
 * did, so that a stuck thread cannot leave the daemon looking well. */
#include "run/health.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/list.h"
#include "run/lock.h"

struct condition {
	struct list link; /* in conditions */
	char *name;
	bool ready;
	bool is_warning;     /* `reason` is shown though it is ready */
	unsigned max_age_ms; /* 0: never stale */
	uint64_t set_ms;     /* 0: never set */
	char reason[256];
};

static struct lock conditions_lock = LOCK_INITIALIZER(LEAF);
static struct list conditions =
    LIST_INIT(conditions); /* under conditions_lock, in order of naming */

static struct condition *
condition_get_locked(const char *name)
{
	struct condition *c, *following;

	LIST_FOREACH (&conditions, c, following, link) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	c = xcalloc(1, sizeof(*c));
	c->name = xstrdup(name);
	(void)snprintf(c->reason, sizeof(c->reason), "not known yet");
	list_add_tail(&conditions, &c->link);
	return c;
}

void
health_set(const char *condition, bool ready, const char *reason_format, ...)
{
	LOCK_SCOPE(&conditions_lock);
	struct condition *c = condition_get_locked(condition);
	va_list ap;

	c->ready = ready;
	c->is_warning = false;
	c->set_ms = clock_monotonic_ms();
	c->reason[0] = '\0';
	if (!reason_format)
		return;
	va_start(ap, reason_format);
	(void)vsnprintf(c->reason, sizeof(c->reason), reason_format, ap);
	va_end(ap);
}

void
health_warn(const char *condition, const char *reason_format, ...)
{
	LOCK_SCOPE(&conditions_lock);
	struct condition *c = condition_get_locked(condition);
	va_list ap;

	c->ready = true;
	c->is_warning = reason_format != NULL;
	c->set_ms = clock_monotonic_ms();
	if (!reason_format)
		return;
	va_start(ap, reason_format);
	(void)vsnprintf(c->reason, sizeof(c->reason), reason_format, ap);
	va_end(ap);
}

void
health_expect(const char *condition, unsigned max_age_ms)
{
	LOCK_SCOPE(&conditions_lock);
	condition_get_locked(condition)->max_age_ms = max_age_ms;
}

static bool
describe(const struct condition *c, uint64_t now_ms, struct strbuf *out)
{
	uint64_t age_ms = now_ms - c->set_ms;

	if (!c->ready) {
		strbuf_addf(out, "%s: %s\n", c->name, c->reason);
		return false;
	}
	if (c->max_age_ms > 0 && age_ms > c->max_age_ms) {
		strbuf_addf(
		    out, "%s: nothing heard for %llu ms\n", c->name, (unsigned long long)age_ms);
		return false;
	}
	if (c->is_warning)
		strbuf_addf(out, "%s: %s\n", c->name, c->reason);
	else
		strbuf_addf(out, "%s ok\n", c->name);
	return true;
}

bool
health_is_ready(struct strbuf *out)
{
	LOCK_SCOPE(&conditions_lock);
	uint64_t now_ms = clock_monotonic_ms();
	struct condition *c, *following;
	bool ready = true;

	LIST_FOREACH (&conditions, c, following, link)
		ready = describe(c, now_ms, out) && ready;
	return ready;
}

void
health_reset(void)
{
	struct condition *c, *following;

	LOCK_SCOPE(&conditions_lock);
	LIST_FOREACH (&conditions, c, following, link) {
		free(c->name);
		free(c);
	}
	list_init(&conditions);
}
