#pragma once
/* AWS Signature Version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html): header
 * and presigned, with derived keys cached and the client quirks of docs/protocol.md: any region and
 * service in the scope, Host with and without port, path with and without trailing slash. */
#include "auth/credentials.h"
#include "base/strbuf.h"

struct sigv4;
struct sigv4 *sigv4_new(auth_lookup_fn lookup, void *arg);
void sigv4_free(struct sigv4 *s);

enum sigv4_payload {
	SIGV4_PAYLOAD_SIGNED,            /* hex hash: `payload_hash` must equal the body's */
	SIGV4_PAYLOAD_UNSIGNED,          /* UNSIGNED-PAYLOAD */
	SIGV4_PAYLOAD_STREAMING,         /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
	SIGV4_PAYLOAD_STREAMING_TRAILER, /* ...-PAYLOAD-TRAILER */
	SIGV4_PAYLOAD_UNSIGNED_TRAILER,  /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};
struct sigv4_result {
	struct auth_key key;
	bool is_presigned;
	enum sigv4_payload payload;
	char payload_hash[65];
	/* what chunk signatures go on from */
	uint8_t signing_key[32];
	char signature[65];
	char date[17];   /* 20130524T000000Z */
	char scope[128]; /* 20130524/us-east-1/s3/aws4_request */
};
/* True when the request carries Signature Version 4 (valid or not). */
bool sigv4_is_present(const struct auth_request *rq);
/* now_us for skew (15 min) and X-Amz-Expires (at most 7 days). Errors are the exact faults of the
 * service: SIGNATURE_DOES_NOT_MATCH, AUTH_FAILURE / INVALID_ACCESS_KEY_ID, REQUEST_EXPIRED /
 * REQUEST_TIME_TOO_SKEWED, INCOMPLETE_SIGNATURE ... An unknown key costs the same time as a bad
 * signature. */
int sigv4_verify(struct sigv4 *s, enum auth_service service, const struct auth_request *rq,
    int64_t now_us, struct sigv4_result *ret, struct err *e);

/* The policy of a form that a browser sends to a bucket: S3 API reference, "POST policy". */
struct sigv4_policy {
	struct str algorithm, credential, date, signature; /* the fields X-Amz-... */
	struct str policy;                                 /* as it came: base64 */
};
/* ERR_INVALID_ARGUMENT, ERR_INVALID_ACCESS_KEY_ID, ERR_SIGNATURE_DOES_NOT_MATCH. details may be
 * NULL. */
int sigv4_verify_policy(struct sigv4 *s, const struct sigv4_policy *policy,
    struct err_details *details, struct auth_key *ret, struct err *e);

/* aws-chunked bodies: checks signatures chunk by chunk and strips the framing. */
struct sigv4_chunks;
/* details: what S3 says of a refusal beside its message; may be NULL. */
struct sigv4_chunks *sigv4_chunks_new(
    const struct sigv4_result *from, uint64_t decoded_length, struct err_details *details);
void sigv4_chunks_free(struct sigv4_chunks *c);
/* As http_chunked_next: 1 data, 0 more input, 2 end, negative fault. Data of a signed chunk may be
 * handed out before the chunk's end; the caller makes nothing visible before 2. */
int sigv4_chunks_next(struct sigv4_chunks *c, struct str *io, struct str *ret_data, struct err *e);
struct str sigv4_chunks_trailers(const struct sigv4_chunks *c); /* raw lines, after 2 */

/* Signing, for our own calls and presigned URLs. */
struct sigv4_signer {
	const char *access_key_id, *secret, *region, *service;
	int64_t now_us;
};
/* Appends to `out` the full URL with X-Amz-* query parameters. */
int sigv4_presign(const struct sigv4_signer *s, const char *method, const char *url,
    uint32_t expires_s, struct strbuf *out, struct err *e);
/* The Authorization header's value; the caller sends x-amz-date (written to ret_date, 17 bytes) and
 * x-amz-content-sha256: payload_hash. */
int sigv4_sign(const struct sigv4_signer *s, const char *method, const char *url,
    const char *payload_hash, char ret_date[17], struct strbuf *out, struct err *e);
