#pragma once
/* One S3 request: parsed, authenticated, its body decoded and hashed, its reply as data. Everything here
 * runs on workers; exchange.c carries it to and from the loop. */
#include <openssl/evp.h>
#include "base/err_detail.h"
#include "base/vec.h"
#include "acl.h"
#include "bucket.h"
#include "checksum.h"
#include "content.h"
#include "identity.h"
#include "net/http_server.h"
#include "net/url.h"
#include "target.h"
#include "xml/xml_read.h"
#include "xml/xml_write.h"

#define S3_XML_BODY_MAX (4 * 1024 * 1024)
#define S3_OBJECT_MAX (UINT64_C(5) << 30) /* in one PUT, and of one part */

struct reply_header {
	const char *name, *value;
};

/* What the access log tells of a request beside what the rest says. */
struct request_facts {
	int64_t began_us;
	uint64_t began_ms, asked_ms, replied_ms; /* monotonic: its first byte, its last, the reply's first; 0: not yet */
	uint64_t sent;                           /* bytes of the reply's body */
	int64_t object_size;                     /* -1: of none */
	const char *error_code;                  /* NULL: none */
};

/* How the caller signed; zero: nobody did. */
struct request_signature {
	const char *type;    /* "REST-HEADER", "REST-QUERY-STRING", "POST" */
	const char *version; /* "AWS4-HMAC-SHA256", or "AWS" of Version 2 */
	int64_t made_us;     /* 0: Version 2 does not say, or says until when */
};

struct request {
	struct walrus *walrus;
	struct arena *arena;
	const struct http_head *head; /* the exchange's, or a copy of ours */
	struct http_peer peer;
	uint16_t port; /* that the client connected to */
	const char *id;
	struct log log;

	struct target target;
	struct form query;
	const struct s3_operation *operation;
	const char *sub_resource; /* of the query: what it names an operation by, or NULL */
	struct auth_key caller;
	bool is_anonymous;
	struct request_signature signature;
	bool is_website; /* came by the listener of websites */
	struct bucket *bucket;  /* one count; NULL: none was looked up */
	struct hot_object *hot; /* one count; the object of a GET, when it was in memory */

	/* the body, decoded */
	bool has_body;
	uint64_t body_length, body_seen;
	struct sigv4_chunks *chunks;
	bool chunks_ended;
	/* What takes it, decoded; NULL: body_add. */
	int (*take)(struct request *rq, struct str bytes, struct err *e);
	const char *wanted_sha256; /* hex; NULL: any */
	const uint8_t *wanted_md5;
	EVP_MD_CTX *md5_context, *sha256_context;
	struct lane *md5_lane; /* NULL: summed here */
	struct piece *piece;   /* that the bytes at hand lie in */
	uint8_t md5[16]; /* once it is whole */
	bool has_checksum;           /* the client sends one: in a header, or in the trailer */
	struct str wanted_checksum;  /* base64; p NULL: to come in the trailer */
	struct checksum checksum;
	uint8_t checksum_bytes[CHECKSUM_SIZE_MAX]; /* once it is whole */
	struct post *post;           /* a form, whose file is the object's bytes */
	struct strbuf body;          /* of operations that do not stream */
	void *data;                  /* the operation's own */
	const char *tags; /* "a=b&..." that an object is to have; NULL: those of x-amz-tagging */

	struct request_facts facts;

	/* the reply */
	struct err_details details; /* what an error says beside code and message */
	int status;
	VEC(struct reply_header) headers; /* strings from the arena */
	bool keeps_headers; /* also with an error */
	struct strbuf reply;
	struct xml_writer xml;
	struct content_reader *content; /* sends these bytes instead */
	uint64_t content_offset, content_left;
	bool has_length; /* of a HEAD: the reply's would-be length */
	uint64_t length;
};

enum {
	S3_ANY_BUCKET = 1,   /* the bucket is not looked up first */
	S3_NEEDS_LENGTH = 2, /* a PUT of bytes: 411 without a length */
	S3_OBJECT_ACL = 4, /* of an object that exists: its own ACL and tags count, once it is found */
	S3_COPY = 8,       /* the one of two that has x-amz-copy-source */
	S3_EACH_KEY = 16,  /* names keys in its body, and asks access_action for each */
	S3_OBJECT_CHECKSUM = 32, /* x-amz-checksum-* are not of the body, but of what becomes of it */
	S3_FORM = 64,      /* who asks, and for what, is in the body: access is decided there */
	S3_UPLOAD = 128,   /* of an upload: who began it may, as upload_open finds out */
};
struct s3_operation {
	const char *name; /* "PutObject" */
	const char *method;
	enum target_level level;
	const char *parameter; /* in the query; NULL: none of those that name an operation */
	/* For access.c: IAM's name, that with a versionId where it differs, and the ACL's. */
	const char *action, *version_action;
	enum permission permission;
	unsigned flags;
	uint64_t body_max;
	/* All but run may be NULL. begin: allowed, and before any byte of the body was asked for. data: body
	 * bytes as they come (else they are collected). done: whatever happened; frees rq->data.
	 * commit, of an operation that ends with one write: its closure, on the request. run has then only
	 * prepared it, nobody waits for it, and answer, which may not block, makes the reply of it. */
	int (*run)(struct request *rq, struct err *e);
	int (*begin)(struct request *rq, struct err *e);
	int (*data)(struct request *rq, struct str bytes, struct err *e);
	void (*done)(struct request *rq);
	store_fn commit;
	void (*answer)(struct request *rq);
};
extern const struct s3_operation s3_operations[];
extern const unsigned s3_operation_count;

/* -- its way through: request_serve.c -- */
/* Borrows the head from the exchange. */
struct request *request_new(struct walrus *w, struct http_exchange *x);
void request_keep_head(struct request *rq); /* before it leaves the loop */
/* On the loop: whether it is a GET that memory alone can answer, so that none of the functions below
 * will block. It is authorised and answered by the same ones either way. */
bool request_is_quick(struct request *rq);
/* The same of a PUT of few bytes, which have come: all but its commit can be done there. The request has
 * its own head. */
bool request_is_quick_put(struct request *rq);
void request_free(struct request *rq);
int request_begin(struct request *rq, struct err *e);
int request_body(struct request *rq, struct str bytes, struct err *e);
int request_end(struct request *rq, struct err *e);
void request_answer(struct request *rq); /* after the operation's commit. Does not block */
/* Turns whatever there is of a reply into the error's. */
void request_fail(struct request *rq, const struct err *e);

/* -- for operations: request.c -- */
void reply_header(struct request *rq, const char *name, const char *value); /* value from the arena */
void reply_headerf(struct request *rq, const char *name, const char *format, ...) _printf_(3, 4);
struct xml_writer *reply_xml(struct request *rq, const char *root); /* closed by reply_xml_end */
void reply_xml_end(struct request *rq, const char *root);
void xml_time(struct xml_writer *w, const char *name, int64_t us);
void xml_owner(struct request *rq, struct xml_writer *w, const char *name, const char *account_id);
/* Percent-encoded when the client asked for encoding-type=url. */
void xml_key(struct xml_writer *w, const char *name, struct str key, bool is_encoded);
bool request_is_head(const struct request *rq);
static inline struct str
request_header(const struct request *rq, const char *name)
{
	return http_head_find(rq->head, name);
}
static inline const char *
request_parameter(const struct request *rq, const char *name) /* NULL when absent */
{
	return rq->query.count ? form_find(&rq->query, name) : NULL;
}
int request_number(const struct request *rq, const char *name, uint32_t fallback, uint32_t max,
    uint32_t *ret, struct err *e); /* larger values read as max */
int request_encoding(const struct request *rq, bool *ret_is_encoded, struct err *e);
/* Audit record and event of a change, in its transaction. */
int request_record(struct store_tx *tx, const struct request *rq, const char *kind,
    const char *resource, struct err *e);
int request_parse_xml(const struct request *rq, const char *root, xmlDoc **ret, struct err *e);
