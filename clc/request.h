#pragma once
/* One API request after authentication: what every handler gets beside its typed input. */
#include "clc.h"
#include "rpc/codec.h"

struct request {
	struct clc *clc;
	struct log log;
	struct arena *arena;
	const char *id;
	const char *account_id, *user_id, *user_name, *access_key_id;
	const char *source_address, *user_agent;
	const struct service *service;
	const struct operation *operation;
	const char *version;    /* as the client wrote it */
	const struct clc_zone_names *zone_names; /* of the account, once asked for: zone_name.h */
	const char *parameters; /* the input as text without secrets, for the audit record */
};

/* The ClientToken of a call: NULL when it has none, and an empty one is none. */
int request_token(const char *given, const char **ret, struct err *e);
/* The audit record of the call under way, within its transaction. */
int request_audit(struct store_tx *tx, const struct request *rq, const char *resource, struct err *e);
/* An event in the outbox and the audit record: what each mutation of `kind` does once. */
int request_record(struct store_tx *tx, const struct request *rq, const char *kind,
    const char *resource, struct err *e);
