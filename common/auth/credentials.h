#pragma once
/* Who signed a request: looked up by access key, shared by every signature version. */
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

struct auth_key {
	char access_key_id[ACCESS_KEY_ID_SIZE];
	char secret[SECRET_KEY_SIZE];
	char account_id[ACCOUNT_ID_SIZE];
	char user_id[24];
	char user_name[65];
	bool is_active;
	uint64_t generation; /* rises when the secret or its state changes: drops derived keys */
};
/* Fills *ret and returns true when the key exists. Called on any thread; must not block for long. */
typedef bool (*auth_lookup_fn)(void *arg, const char *access_key_id, struct auth_key *ret);

/* The request as a verifier sees it: raw bytes. */
struct auth_header {
	struct str name, value;
};
struct auth_request {
	struct str method;
	struct str path;  /* raw, as sent */
	struct str query; /* raw, without '?' */
	struct str host;  /* Host header as sent */
	const struct auth_header *headers; /* same shape as struct http_header */
	unsigned header_count;
	struct str body;       /* Query API: the form body; S3: unused */
	const char *payload_hash; /* hex SHA-256 of the body when known, else NULL */
	uint16_t port;         /* the listener's, for Host with and without port */
};
enum auth_service { AUTH_QUERY, AUTH_S3 }; /* S3: path not encoded twice, other error codes */
