#pragma once
/* What a request is about: bucket and key, from path or host name. A pure function of the head. */
#include "base/arena.h"
#include "base/err_detail.h"
#include "net/http.h"

#define S3_KEY_MAX 1024

enum target_level { TARGET_SERVICE, TARGET_BUCKET, TARGET_OBJECT };
struct target {
	enum target_level level;
	char *bucket;         /* NULL for the service itself */
	struct str key;       /* decoded */
	bool is_virtual_host; /* the bucket came from the host */
};
/* `domains`: names of the service, separated by spaces. details may be NULL. ERR_INVALID_URI,
 * ERR_KEY_TOO_LONG. */
int target_parse(const struct http_head *head, const char *domains, struct arena *arena,
    struct err_details *details, struct target *ret, struct err *e);
/* "pictures.s3.example:8777" with a domain "s3.example" is the bucket "pictures"; else p is NULL. */
struct str target_bucket_of_host(struct str host, const char *domains);
bool bucket_name_is_valid(const char *name);
/* The path without the prefix below which Eucalyptus had its object storage, if it is there. */
struct str target_without_mount(struct str path);
