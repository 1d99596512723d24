/* The qcow2 header (QEMU's docs/interop/qcow2.txt), as far as safety needs it. An image that names
 * another file (backing or data) could make QEMU read any file of the node; one that asks for
 * features we do not know may do so in a way we do not see. The clc asks when an image comes to be,
 * to say so at once; a node asks again, of the bytes that it verified against the image's digest.
 */
#include "base/qcow2.h"

#include <endian.h>

#define MAGIC 0x514649fbu
#define INCOMPATIBLE_DIRTY 1u
#define INCOMPATIBLE_CORRUPT 2u
#define INCOMPATIBLE_COMPRESSION 8u
#define AUTOCLEAR_RAW_DATA_FILE 2u
#define EXTENSION_END 0u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_DATA_FILE 0x44415441u

static uint32_t
get32(struct str s, size_t at)
{
	uint32_t v;

	memcpy(&v, s.p + at, sizeof(v));
	return be32toh(v);
}

static uint64_t
get64(struct str s, size_t at)
{
	uint64_t v;

	memcpy(&v, s.p + at, sizeof(v));
	return be64toh(v);
}

bool
qcow2_is(struct str head)
{
	return head.n >= 4 && get32(head, 0) == MAGIC;
}

/* Header extensions follow the header: type, length, data padded to 8. */
static int
check_extensions(struct str head, size_t at, struct err *e)
{
	while (at + 8 <= head.n) {
		uint32_t type = get32(head, at), length = get32(head, at + 4);

		if (type == EXTENSION_END)
			return 0;
		if (type == EXTENSION_DATA_FILE || type == EXTENSION_BACKING_FORMAT)
			return err_set(e, ERR_INVALID, "it names another file");
		if (length > head.n)
			return err_set(e, ERR_INVALID, "its header extensions are too long");
		at += 8 + (((size_t)length + 7) & ~(size_t)7);
	}
	return err_set(e, ERR_INVALID, "its header extensions do not end");
}

int
qcow2_check(struct str head, uint64_t size_max, uint64_t *ret_virtual_size, struct err *e)
{
	uint32_t version, header_length = 72;
	uint64_t size;

	if (head.n < 72 || !qcow2_is(head))
		return err_set(e, ERR_INVALID, "it is not a qcow2 image");
	version = get32(head, 4);
	if (version != 2 && version != 3)
		return err_set(e, ERR_INVALID, "qcow2 version %u is not supported", version);
	if (get64(head, 8) != 0 || get32(head, 16) != 0)
		return err_set(e, ERR_INVALID, "it has a backing file");
	if (get32(head, 20) < 9 || get32(head, 20) > 21)
		return err_set(e, ERR_INVALID, "its cluster size is out of range");
	size = get64(head, 24);
	if (size == 0 || size > size_max)
		return err_set(e, ERR_INVALID, "its disk size of %llu bytes is out of range",
		    (unsigned long long)size);
	if (get32(head, 32) != 0)
		return err_set(e, ERR_INVALID, "it is encrypted");
	if (get32(head, 60) != 0) /* they hold more than the disk that is meant */
		return err_set(e, ERR_INVALID, "it holds snapshots");
	if (version == 3) {
		uint64_t incompatible;

		if (head.n < 104)
			return err_set(e, ERR_INVALID, "its header is cut short");
		incompatible = get64(head, 72);
		header_length = get32(head, 100);
		if (incompatible & INCOMPATIBLE_CORRUPT)
			return err_set(e, ERR_INVALID, "it is marked corrupt");
		if (incompatible & ~(uint64_t)(INCOMPATIBLE_DIRTY | INCOMPATIBLE_COMPRESSION))
			return err_set(e, ERR_INVALID,
			    "it uses features that are not supported (%#llx)",
			    (unsigned long long)incompatible);
		if (get64(head, 88) & AUTOCLEAR_RAW_DATA_FILE)
			return err_set(e, ERR_INVALID, "it names another file");
		if (header_length < 104 || header_length % 8 != 0 || header_length > head.n)
			return err_set(e, ERR_INVALID, "its header length is out of range");
	}
	*ret_virtual_size = size;
	return check_extensions(head, header_length, e);
}
