/* Answers as lines of JSON. Bodies are what was sent but for the text of elements that are secret
 * by their definition: a key is shown once, to who asked for it. */
#include "answer_log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/codec.h"
#include "run/lock.h"

#define DEPTH_MAX 8

static struct lock lock = LOCK_INITIALIZER(LEAF);
static _Atomic int log_fd = -1;

int
answer_log_open(const char *path, struct err *e)
{
	LOCK_SCOPE(&lock);
	int fd = -1, old = log_fd;

	if (*path) {
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return err_set_errno(e, errno, "answer_log: cannot open '%s'", path);
	}
	log_fd = fd;
	if (old >= 0)
		(void)close(old); /* each record was written whole */
	return 0;
}

bool
answer_log_is_open(void)
{
	return log_fd >= 0;
}

/* -- masking -- */

static void
mask_element(struct strbuf *body, const char *name)
{
	_cleanup_free_ char *open_tag = xasprintf("<%s>", name);
	_cleanup_free_ char *close_tag = xasprintf("</%s>", name);
	_cleanup_strbuf_ struct strbuf masked = STRBUF_INIT;
	const char *p = strbuf_c(body), *begin, *end;

	if (!strstr(p, open_tag))
		return;
	while ((begin = strstr(p, open_tag)) && (end = strstr(begin, close_tag))) {
		begin += strlen(open_tag);
		strbuf_add(&masked, p, (size_t)(begin - p));
		strbuf_adds(&masked, "***");
		p = end;
	}
	strbuf_adds(&masked, p);
	strbuf_reset(body);
	strbuf_addstr(body, strbuf_str(&masked));
}

static void
mask_secrets(struct strbuf *body, const struct shape *shape, unsigned depth)
{
	for (unsigned i = 0; shape && depth < DEPTH_MAX && i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];

		if (f->flags & FIELD_SECRET)
			mask_element(body, f->xml);
		else if (f->type == FIELD_STRUCT && !(f->flags & FIELD_UNSTORED))
			mask_secrets(body, f->shape, depth + 1);
	}
}

/* -- JSON -- */

/* Bytes that are no UTF-8 are shown as those of Latin-1: a client may send any. */
static void
add_text(struct strbuf *out, struct str text)
{
	bool is_text = is_utf8(text);
	size_t plain = 0; /* from where nothing needs escaping */

	strbuf_addc(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c >= 0x20 && c != 0x7f && c != '"' && c != '\\' && (c < 0x80 || is_text))
			continue;
		strbuf_add(out, text.p + plain, i - plain);
		plain = i + 1;
		if (c == '"' || c == '\\')
			strbuf_addf(out, "\\%c", c);
		else
			strbuf_addf(out, "\\u%04x", c);
	}
	strbuf_add(out, text.p + plain, text.n - plain);
	strbuf_addc(out, '"');
}

static void
add_member(struct strbuf *out, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_addf(out, ",\"%s\":", name);
	add_text(out, str_of(value));
}

void
answer_log_format(const struct answer *a, int64_t now_us, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	char time[TIME_TEXT_SIZE];

	time_format_iso(now_us, time);
	strbuf_addf(out, "{\"time\":\"%s\"", time);
	add_member(out, "request", a->request_id);
	add_member(out, "source", a->source_address);
	add_member(out, "agent", a->user_agent);
	add_member(out, "account", a->account_id);
	add_member(out, "service", a->service);
	add_member(out, "version", a->version);
	add_member(out, "action", a->action);
	add_member(out, "parameters", a->parameters);
	strbuf_addf(out, ",\"status\":%d,\"body\":", a->status);
	if (a->shape) {
		strbuf_addstr(&body, a->body);
		mask_secrets(&body, a->shape, 0);
	}
	add_text(out, a->shape ? strbuf_str(&body) : a->body);
	strbuf_adds(out, "}\n");
}

void
answer_log_add(const struct answer *answer)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	size_t done = 0;

	if (!answer_log_is_open())
		return;
	answer_log_format(answer, clock_now_us(), &line);
	LOCK_SCOPE(&lock);
	while (log_fd >= 0 && done < line.n) {
		ssize_t n = write(log_fd, line.p + done, line.n - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* a full disk costs records, never answers */
			return;
		done += (size_t)n;
	}
}
