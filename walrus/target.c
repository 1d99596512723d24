/* Bucket and key. Paths may be mounted where Eucalyptus had its object storage, unless the host
 * names the bucket and all of the path is the key; a key keeps every other slash, dot and empty
 * segment as the client sent it: keys are no paths. */
#include "target.h"

#include "net/url.h"

static const char *const mounts[] = { "/services/objectstorage", "/services/Walrus",
	"/services/walrus" };

struct str
target_without_mount(struct str path)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		size_t n = strlen(mounts[i]);

		if (str_starts(path, mounts[i]) && (path.n == n || path.p[n] == '/'))
			return (struct str){ path.p + n, path.n - n };
	}
	return path;
}

struct str
target_bucket_of_host(struct str host, const char *domains)
{
	struct str rest = str_of(domains), domain;
	const char *colon = host.n ? memrchr(host.p, ':', host.n) : NULL;

	if (colon)
		host.n = (size_t)(colon - host.p);
	while (str_split(&rest, ' ', &domain)) {
		size_t n = host.n - domain.n;

		if (domain.n && host.n > domain.n + 1 && host.p[n - 1] == '.' &&
		    strncasecmp(host.p + n, domain.p, domain.n) == 0)
			return (struct str){ host.p, n - 1 };
	}
	return (struct str){ NULL, 0 };
}

static int
decode(struct str raw, struct arena *arena, struct str *ret, struct err *e)
{
	char *bytes = arena_alloc(arena, raw.n + 1); /* zeroed, so it ends where it is decoded to */
	struct str text = { bytes, 0 };

	if (!url_decode_to(bytes, raw, false, &text.n) || !is_utf8(text) ||
	    memchr(bytes, 0, text.n))
		return err_set(e, ERR_INVALID_URI, "Couldn't parse the specified URI.");
	*ret = text;
	return 0;
}

int
target_parse(const struct http_head *head, const char *domains, struct arena *arena,
    struct err_details *details, struct target *ret, struct err *e)
{
	struct str bucket = target_bucket_of_host(head->host, domains), key;
	struct str rest = bucket.n ? head->path : target_without_mount(head->path);
	struct target t = { .key = { "", 0 } };
	int r;

	if (rest.n && rest.p[0] == '/') {
		rest.p++;
		rest.n--;
	}
	if (bucket.n) {
		t.is_virtual_host = true;
		key = rest;
	} else {
		const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;

		bucket = (struct str){ rest.p, slash ? (size_t)(slash - rest.p) : rest.n };
		key = slash ? (struct str){ slash + 1, rest.n - bucket.n - 1 }
			    : (struct str){ "", 0 };
	}
	if (bucket.n == 0 && key.n > 0)
		return err_set(e, ERR_BUCKET_NAME, "The specified bucket is not valid.");
	r = decode(key, arena, &t.key, e);
	if (r == 0)
		r = decode(bucket, arena, &bucket, e);
	if (r < 0)
		return r;
	if (t.key.n > S3_KEY_MAX) {
		err_detailf(details, "Size", "%zu", t.key.n);
		err_detailf(details, "MaxSizeAllowed", "%d", S3_KEY_MAX);
		return err_set(e, ERR_KEY_TOO_LONG, "Your key is too long");
	}
	t.bucket = bucket.n ? arena_str(arena, bucket) : NULL;
	for (char *p = t.bucket; t.is_virtual_host && *p; p++) /* names of hosts know no case */
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
	t.level = t.key.n ? TARGET_OBJECT : t.bucket ? TARGET_BUCKET : TARGET_SERVICE;
	*ret = t;
	return 0;
}

static bool
is_label_end(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_reserved(const char *name, size_t n)
{
	static const char *const prefixes[] = { "xn--", "sthree-", "amzn-s3-demo-" };
	static const char *const suffixes[] = { "-s3alias", "--ol-s3", ".mrap", "--x-s3",
		"--table-s3" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t length = strlen(suffixes[i]);

		if (n >= length && strcmp(name + n - length, suffixes[i]) == 0)
			return true;
	}
	return false;
}

/* "Bucket naming rules" of the S3 user guide. */
bool
bucket_name_is_valid(const char *name)
{
	size_t n = strlen(name);
	bool has_letter = false;

	if (n < 3 || n > 63 || !is_label_end(name[0]) || !is_label_end(name[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_label_end(name[i]) && name[i] != '-' && name[i] != '.')
			return false;
		if (name[i] == '.' &&
		    (name[i + 1] == '.' || name[i + 1] == '-' || name[i - 1] == '-'))
			return false;
		has_letter |= name[i] != '.' && (name[i] < '0' || name[i] > '9');
	}
	/* Digits and dots alone may look like an IPv4 address. */
	if (!has_letter) {
		unsigned dots = 0;

		for (size_t i = 0; i < n; i++)
			dots += name[i] == '.';
		return dots != 3;
	}
	return !is_reserved(name, n);
}
