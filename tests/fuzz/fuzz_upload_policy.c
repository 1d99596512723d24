/* Any bytes as an upload policy: it is read to its end and no further, and nothing is let through
 * that does not name bucket and key. */
#include <assert.h>
#include <string.h>
#include "base/str.h"
#include "clc/upload_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct upload upload = { "bucket", "image", "ec2-bundle-read", 1 };
	_cleanup_free_ char *coded = base64_encode(data, n);
	struct err e = { 0 };
	int r = upload_policy_check(coded, &upload, &e);

	assert(r == 0 || r == ERR_ACCESS_DENIED || r == ERR_INVALID_POLICY_DOCUMENT);
	if (r == 0) /* escapes may hide the names, not that there is an array of conditions */
		assert(memmem(data, n, "[", 1));
	return 0;
}
