/* What all verbs of the admin socket read and say in one way. */
#include "admin.h"

void
admin_fail(struct http_call *call, const struct err *e)
{
	call->status = fault_status(e->code);
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", e->text);
}

int
admin_form(struct http_call *call, struct form *ret, struct err *e)
{
	*ret = (struct form){ 0 };
	call->content_type = "text/plain";
	return call->body.n ? form_parse(call->body, 16, call->arena, ret, e) : 0;
}

int
admin_need(const struct form *form, const char *name, const char **ret, struct err *e)
{
	*ret = form_find(form, name);
	return *ret && **ret ? 0 : err_set(e, ERR_INVALID, "'%s' is missing", name);
}
