/* What the root helper reads from mallee-nc: one byte chooses the verb and the direction, the rest
 * is the payload. What passes the check must be usable as it lies there, so a definition is written
 * of it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "nc/helper/domain_xml.h"
#include "nc/helper_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct domain_surroundings around = { .type = "qemu",
		.instances_dir = "/i",
		.cache_dir = "/c",
		.console_dir = "/l",
		.disk_cache = "none" };
	_cleanup_strbuf_ struct strbuf xml = STRBUF_INIT;
	unsigned verb = size ? data[0] & 0x7f : 0;
	bool is_reply = size && data[0] & 0x80;
	void *copy;

	if (size < 1)
		return 0;
	copy = xmalloc(size > 1 ? size - 1 : 1); /* aligned, and its end is known */
	memcpy(copy, data + 1, size - 1);
	if (helper_payload_check(verb, is_reply, (struct str){ copy, size - 1 }, NULL) == 0 &&
	    verb == HELPER_GUEST_START && !is_reply)
		domain_xml_write(copy, &around, &xml);
	free(copy);
	return 0;
}
