/* x-amz-copy-source, and x-amz-copy-source-range behind a line feed. What is accepted keeps its
 * promises: a bucket, a key of at most S3_KEY_MAX bytes of UTF-8 without NUL, a range within the
 * object. */
#include <assert.h>
#include "walrus/copy_source.h"

#define SIZE UINT64_C(1000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct str rest = { (const char *)data, size }, source = { "", 0 };
	struct copy_source_name name;
	uint64_t first, count;
	struct err e = { 0 };

	if (size == 0 || size > 16384)
		return 0;
	(void)str_split(&rest, '\n', &source);
	if (copy_source_parse(source, arena, &name, &e) == 0) {
		assert(name.bucket && *name.bucket && name.key.n > 0 && name.key.n <= S3_KEY_MAX);
		assert(is_utf8(name.key) && !memchr(name.key.p, '\0', name.key.n));
		assert(!name.version_id || *name.version_id);
	} else {
		assert(e.code < 0 && e.text[0]);
	}
	if (rest.p && copy_range_parse(rest, SIZE, &first, &count, &e) == 0)
		assert(count > 0 && first < SIZE && count <= SIZE - first);
	return 0;
}
