#pragma once
/* Who signed a request: looked up by access key, shared by every signature version. */
#include "base/err.h"
#include "base/err_detail.h"
#include "base/id.h"
#include "base/str.h"
#include "net/http.h"

struct auth_key {
	char access_key_id[ACCESS_KEY_ID_SIZE];
	char secret[SECRET_KEY_SIZE];
	char account_id[ACCOUNT_ID_SIZE];
	char user_id[24];
	char user_name[65];
	bool is_active;
	bool is_service;     /* the cloud's own, of that account: no user has it */
	uint64_t generation; /* rises when the secret or its state changes: drops derived keys */
};
/* Fills *ret and returns true when the key exists. Called on any thread; must not block for long.
 */
typedef bool (*auth_lookup_fn)(void *arg, const char *access_key_id, struct auth_key *ret);

/* The request as a verifier sees it: raw bytes. */
struct auth_request {
	struct str method;
	struct str path;  /* raw, as sent */
	struct str query; /* raw, without '?' */
	struct str host;  /* Host header as sent */
	const struct http_header *headers;
	unsigned header_count;
	struct str body;          /* Query API: the form body; S3: unused */
	const char *payload_hash; /* hex SHA-256 of the body when known, else NULL */
	uint16_t port;            /* the listener's, for Host with and without port; 0: unknown */
	struct err_details
	    *details; /* what S3 says of a refusal beside its message; NULL: nobody asks */
};
/* What the service's clients expect: S3 does not encode the path twice; error codes differ. */
enum auth_service {
	AUTH_QUERY, /* EC2 and what behaves like it */
	AUTH_S3,
	AUTH_IAM, /* Query too, with the codes of IAM and STS */
	AUTH_SERVICE_MAX
};
