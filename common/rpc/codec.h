#pragma once
/* Structs described by tables. tools/apigen compiles *.api files to C structs and these tables; one
 * codec walks them: Query parameters in, XML in and out, log lines. Absent values: strings and nested
 * structs are NULL pointers; optional scalars have a `has_x` beside them; lists have count 0. */
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "xml/xml_read.h"
#include "xml/xml_write.h"

struct form; /* net/url.h */

enum field_type { FIELD_STRING, FIELD_BOOL, FIELD_U32, FIELD_I32, FIELD_U64, FIELD_I64,
	FIELD_TIME /* int64_t us */, FIELD_BYTES /* struct str; base64 on the wire */, FIELD_STRUCT };
enum field_flag {
	FIELD_REQUIRED = 1,
	FIELD_LIST = 2,    /* struct { T *items; size_t count; } */
	FIELD_SECRET = 4,  /* never logged */
	FIELD_FLAT = 8,    /* list without an enclosing element: items repeat under xml_name */
	FIELD_EMPTY = 16,  /* an absent list or string is written as an empty element */
	FIELD_HIDDEN = 32, /* in C only, for filters */
	FIELD_REFUSED = 64,  /* of requests; no slot in C: a parameter that is known, and answered
				UNSUPPORTED_OPERATION unless its value is among `choices` */
	FIELD_IGNORED = 128, /* of requests; no slot in C: accepted without effect */
	FIELD_UNSTORED = FIELD_REFUSED | FIELD_IGNORED,
	FIELD_KEY = 256, /* tells the items of a list apart */
};
struct shape;
struct field {
	const char *name;  /* in C */
	const char *query; /* in Query requests: "ImageId"; lists add .N */
	const char *xml;   /* "imageId" */
	const char *item;  /* element name of list items: "item" (EC2), "member" (IAM) */
	enum field_type type;
	unsigned flags;
	size_t offset;
	size_t has_offset;  /* SIZE_MAX: none */
	const struct shape *shape; /* FIELD_STRUCT */
	int64_t min, max;   /* numbers; length of strings, count of lists: max 0 is the default limit */
	const char *choices; /* "a|b|c" or NULL */
	uint32_t since;      /* first message version that knows it; 0: all */
	int absent;          /* fault of every value: nothing that it could name is here; 0: none */
};
struct shape {
	const char *name;
	size_t size;
	const struct field *fields;
	unsigned field_count;
};

/* A filter of a Describe call: the reply's field that it looks at. */
struct filter_path {
	const char *name; /* "network-interface.mac-address" */
	const char *path; /* "network_interfaces.mac_address"; lists match when any item does; NULL: nothing here
			     has it */
};

/* Checks required fields, ranges, choices, limits. Faults are those of EC2's Query API:
 * MISSING_PARAMETER, INVALID_PARAMETER_VALUE, UNKNOWN_PARAMETER, UNSUPPORTED_OPERATION, with the parameter's name as the
 * client wrote it. Lists come as X.1, X.0, bare X; scalars also as X.1; indices may have gaps. Names
 * in `ignore` (NULL-terminated) are skipped: Action, Version, AWSAccessKeyId, Signature... */
int codec_from_query(const struct shape *shape, const struct form *form, const char *const *ignore,
    struct arena *arena, void *out, struct err *e);
/* Children of `node` by local name; unknown ones are refused (ERR_INVALID). */
int codec_from_xml(const struct shape *shape, xmlNode *node, struct arena *arena, void *out,
    struct err *e);
/* The fields as child elements of what is open now. A number, bool or time that is not 0 is written
 * even when its has_x is false. */
void codec_to_xml(const struct shape *shape, const void *in, struct xml_writer *w);
/* The same without what messages of `version` do not know. */
void codec_to_xml_version(const struct shape *shape, const void *in, uint32_t version,
    struct xml_writer *w);
/* "image_id=ami-1 min_count=1": no secrets, values cut at 64 bytes. */
void codec_to_log(const struct shape *shape, const void *in, struct strbuf *out);
/* Deep copy into an arena. */
void codec_copy(const struct shape *shape, const void *in, struct arena *arena, void *out);
/* The parameters that codec_from_query reads as `in`, added to *form; hidden fields are none. */
void codec_to_query(const struct shape *shape, const void *in, struct arena *arena, struct form *form);
/* What `upper` says, and what it leaves open as `lower` says it, field by field, in nested structs too. A list
 * that both have is upper's; items of structs with a FIELD_KEY are joined: those of lower, each replaced
 * by the one of upper with the same key (lists within the two are joined alike), then what else upper has.
 * INVALID_PARAMETER_VALUE when a joined list is longer than its field allows. *out borrows from both. */
int codec_merge(const struct shape *shape, const void *upper, const void *lower, struct arena *arena,
    void *out, struct err *e);

/* An operation: one row of a service. `handler` has the service's own signature, cast by its server. */
struct service;
struct operation {
	const char *name; /* "RunInstances", "PutInstance" */
	const struct shape *in, *out;
	int (*handler)(void *rq, const void *in, void *out, struct err *e); /* wrappers made by apigen */
	const char *iam;       /* "ec2:RunInstances" */
	const char *resources; /* "instance image subnet": words */
	const char *peers;     /* roles that may call it: "clc", "cc" */
	bool mutates;
	bool waits;            /* may be deferred: long polls */
	const struct service *service;
	const struct filter_path *filters; /* ends with a NULL name; NULL: it has none */
	const struct shape *filtered;      /* what they look at: an item of the answer */
	int fault;                         /* of one without handler: what it always answers; 0: nothing */
};
struct service {
	const char *name;       /* "ec2", "nc" */
	const char *first_version, *last_version;
	const struct operation *operations;
	unsigned operation_count;
};
const struct operation *service_find(const struct service *s, const char *name);
