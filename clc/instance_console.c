/* What the zone keeps of a serial console: GetConsoleOutput, and GetPasswordData, which looks there
 * for what an agent in the guest wrote; and what the screen shows. */
#include "instance_console.h"

#include <ctype.h>

#include "base/strbuf.h"
#include "clc/ec2.api.h"

#include "instance.h"
#include "peers.h"

struct lookup {
	struct request *rq;
	const char *id;
	struct clc_instance instance;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;

	return clc_instance_load(tx, l->rq->account_id, l->id, l->rq->arena, &l->instance, e);
}

static int
look_up(struct request *rq, const char *id, struct lookup *ret, struct err *e)
{
	int r = clc_instance_check_id(id, e);

	*ret = (struct lookup){ .rq = rq, .id = id };
	return r < 0 ? r : store_read(rq->clc->store, load, ret, e);
}

/* The console as its zone has it. One that has ended or was never started has none: empty, not an
 * error. */
static int
read_console(
    struct request *rq, const char *id, struct str *ret_output, int64_t *ret_at_us, struct err *e)
{
	struct rpc_context context = { .request_id = rq->id, .account_id = rq->account_id };
	struct lookup l;
	int r = look_up(rq, id, &l, e);

	if (r < 0)
		return r;
	*ret_output = (struct str){ 0 };
	*ret_at_us = l.instance.launch_us;
	if (!l.instance.node_id || l.instance.state == INSTANCE_TERMINATED)
		return 0;
	r = clc_peers_console(
	    rq->clc->peers, l.instance.zone, &context, id, rq->arena, ret_output, ret_at_us, e);
	if (r == ERR_NOT_FOUND || r == ERR_INSTANCE_NOT_FOUND)
		return 0;
	return r;
}

int
ec2_handle_get_console_output(struct request *rq, const struct get_console_output_in *in,
    struct get_console_output_out *out, struct err *e)
{
	out->instance_id = in->instance_id;
	out->has_timestamp = true;
	return read_console(rq, in->instance_id, &out->output, &out->timestamp, e);
}

/* -- GetPasswordData -- */

#define PASSWORD_BEGIN "<Password>"
#define PASSWORD_END "</Password>"
#define PASSWORD_MAX 4096 /* of an RSA key of 16 kbit there would be 2,732 letters */

static struct str
after(struct str text, const char *mark)
{
	const char *at = memmem(text.p, text.n, mark, strlen(mark));

	return at ? (struct str){ at + strlen(mark), text.p + text.n - at - strlen(mark) }
		  : (struct str){ 0 };
}

/* What stands between the marks, without the line breaks of a console, if it is base64. */
static char *
password_of(struct str text, struct arena *arena)
{
	const char *end = memmem(text.p, text.n, PASSWORD_END, strlen(PASSWORD_END));
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (!end || end - text.p > PASSWORD_MAX)
		return NULL;
	for (const char *c = text.p; c < end; c++)
		if (!isspace((unsigned char)*c))
			strbuf_add(&out, c, 1);
	if (!out.n || !base64_decode(str_of(strbuf_c(&out)), &bytes, &n))
		return NULL;
	return arena_strdup(arena, strbuf_c(&out));
}

const char *
clc_console_password(struct str console, struct arena *arena)
{
	const char *last = "";
	struct str rest = console;

	while (rest.n && (rest = after(rest, PASSWORD_BEGIN)).p) {
		char *found = password_of(rest, arena);

		if (found)
			last = found;
	}
	return last;
}

int
ec2_handle_get_password_data(struct request *rq, const struct get_password_data_in *in,
    struct get_password_data_out *out, struct err *e)
{
	struct str console;
	int r = read_console(rq, in->instance_id, &console, &out->timestamp, e);

	if (r < 0)
		return r;
	out->instance_id = in->instance_id;
	out->has_timestamp = true;
	out->password_data = clc_console_password(console, rq->arena);
	return 0;
}

/* -- GetConsoleScreenshot: asked of its node while the caller waits -- */

static int
not_running(const char *id, struct err *e)
{
	return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
	    "The instance '%s' must be in the 'running' state for a screenshot", id);
}

int
ec2_handle_get_console_screenshot(struct request *rq, const struct get_console_screenshot_in *in,
    struct get_console_screenshot_out *out, struct err *e)
{
	struct rpc_context context = { .request_id = rq->id, .account_id = rq->account_id };
	struct lookup l;
	struct str image = { 0 };
	_cleanup_free_ char *text = NULL;
	int r = look_up(rq, in->instance_id, &l, e);

	if (r == 0 && (l.instance.state != INSTANCE_RUNNING || !l.instance.node_id))
		r = not_running(in->instance_id, e);
	if (r == 0)
		r = clc_peers_screenshot(rq->clc->peers, l.instance.zone, &context, in->instance_id,
		    in->wake_up, rq->arena, &image, e);
	if (r == ERR_CONFLICT || r == ERR_NOT_FOUND) /* it has ended since the last report */
		return not_running(in->instance_id, e);
	if (r == ERR_UNSUPPORTED)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "The instance '%s' runs where no screenshots are taken: the zone or its node "
		    "has "
		    "an earlier version of this cloud",
		    in->instance_id);
	if (r < 0)
		return r;
	text = base64_encode(image.p, image.n);
	out->image_data = arena_strdup(rq->arena, text);
	out->instance_id = l.instance.instance_id;
	return 0;
}
