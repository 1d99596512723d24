/* Manifests of bundles, which any user may upload: what is read is whole, and lies beside the
 * manifest. */
#include <assert.h>
#include <string.h>
#include "clc/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct manifest m = { 0 };
	struct err e = { 0 };

	if (manifest_parse((struct str){ (const char *)data, n }, arena, &m, &e) < 0) {
		assert(e.code == ERR_INVALID_MANIFEST);
		return 0;
	}
	assert(m.architecture && m.name && m.user && m.type && m.signature && m.signed_text.n <= n);
	assert(strlen(m.sha1) == 40 && m.size_bytes > 0 && m.bundled_bytes > 0);
	assert(m.part_count > 0 && m.part_count <= MANIFEST_PARTS_MAX);
	for (size_t i = 0; i < m.part_count; i++)
		assert(m.parts[i].filename && !strchr(m.parts[i].filename, '/') &&
		       strlen(m.parts[i].sha1) == 40);
	for (size_t i = 0; i < m.mapping_count; i++)
		assert(m.mappings[i].virtual_name && m.mappings[i].device);
	assert(!manifest_is_signed_by(&m, "none"));
	return 0;
}
