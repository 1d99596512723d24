/* Targets of S3 requests: the first line is the host, the second the path as sent. What is accepted
 * keeps its promises: a key of at most S3_KEY_MAX bytes of UTF-8 without NUL, a level that fits. */
#include <assert.h>
#include "walrus/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct str rest = { (const char *)data, size }, host = { "", 0 };
	struct http_head head = { 0 };
	struct target t;
	struct err e = { 0 };

	if (size == 0 || size > HTTP_TARGET_MAX)
		return 0;
	(void)str_split(&rest, '\n', &host);
	head.host = host;
	head.path = rest.p ? rest : STR("/");
	if (target_parse(&head, "s3.test other.test", arena, NULL, &t, &e) < 0) {
		assert(e.code < 0 && e.text[0]);
		return 0;
	}
	assert(t.key.n <= S3_KEY_MAX && is_utf8(t.key) && !memchr(t.key.p, '\0', t.key.n));
	assert(t.level == (t.key.n ? TARGET_OBJECT : t.bucket ? TARGET_BUCKET : TARGET_SERVICE));
	if (t.bucket)
		(void)bucket_name_is_valid(t.bucket);
	return 0;
}
