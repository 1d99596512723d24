#pragma once
/* What mallee-admin asks of walrus over its admin socket. */
#include "net/status_server.h"
#include "net/url.h"
#include "walrus.h"

extern const struct admin_verb walrus_admin_verbs[];
extern const size_t walrus_admin_verb_count;

/* -- for verbs: admin_form.c -- */
void admin_fail(struct http_call *call, const struct err *e); /* the reply is its sentence */
int admin_form(struct http_call *call, struct form *ret, struct err *e);
/* ERR_INVALID when the form has none. */
int admin_need(const struct form *form, const char *name, const char **ret, struct err *e);
