/* Block device mappings of a launch. Beneath is what the type has: its ephemeral disks, in order,
 * from /dev/vdb on. Over that goes the image's mapping, and over that the request's: a device that
 * an upper one names is as it says, and a disk that it names is where it says. */
#include "block_device.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define DEVICES_MAX 64
#define VOLUME_MAX_GIB 16384

struct device {
	char letter[3]; /* "b" of /dev/sdb, /dev/xvdb, vdb1: what tells devices apart */
	const char *name;
	int disk; /* of the type; -1: none */
};
struct devices {
	struct device items[DEVICES_MAX];
	size_t count;
};

/* -- names -- */

/* "/dev/sdb", "sdb", "xvdb", "/dev/vdb": all the device b; a partition's number may follow. */
static bool
parse_device(const char *name, char ret_letter[3])
{
	static const char *const kinds[] = { "xvd", "sd", "vd", "hd" };
	const char *p = name;
	size_t n = 0;

	if (strncmp(p, "/dev/", 5) == 0)
		p += 5;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strncmp(p, kinds[i], strlen(kinds[i])) != 0)
			continue;
		p += strlen(kinds[i]);
		while (n < 2 && *p >= 'a' && *p <= 'z')
			ret_letter[n++] = *p++;
		ret_letter[n] = '\0';
		return n > 0 && strspn(p, "0123456789") == strlen(p) && strlen(p) <= 2;
	}
	return false;
}

/* "ephemeral0" and so on; -1: it is none. */
static int
parse_disk(const char *virtual_name)
{
	uint32_t n;

	if (strncmp(virtual_name, "ephemeral", 9) != 0 || !virtual_name[9] ||
	    !str_to_u32(str_of(virtual_name + 9), &n) || n >= INSTANCE_TYPE_DISKS_MAX)
		return -1;
	return (int)n;
}

static bool
is_root(const char *letter, const char *root_device)
{
	char root[3];

	return strcmp(letter, "a") == 0 ||
	       (root_device && parse_device(root_device, root) && strcmp(letter, root) == 0);
}

/* -- checks that need no store -- */

static int
invalid(struct err *e, const char *format, const char *name)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	strbuf_addf(&text, "%s '%.100s'", format, name);
	return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING, "%s", strbuf_c(&text));
}

static int
unsupported(struct err *e, const char *what, const char *device)
{
	return err_set(
	    e, ERR_UNSUPPORTED_OPERATION, "%s of device '%.100s' is not supported", what, device);
}

/* What a volume would need to be more than the root disk that there is. */
static int
check_ebs(const char *name, const struct block_device_ebs *ebs, struct err *e)
{
	const char *type = ebs->volume_type;

	if (ebs->snapshot_id)
		return unsupported(e, "A snapshot", name);
	if (ebs->encrypted || ebs->kms_key_id)
		return unsupported(e, "Encryption", name);
	if (ebs->has_iops || ebs->has_throughput)
		return unsupported(e, "Provisioned performance", name);
	if (ebs->outpost_arn)
		return unsupported(e, "An Outpost", name);
	if (ebs->has_delete_on_termination && !ebs->delete_on_termination)
		return unsupported(e, "DeleteOnTermination false", name);
	if (type && strcmp(type, "standard") != 0 && strcmp(type, "gp2") != 0 &&
	    strcmp(type, "gp3") != 0)
		return unsupported(e, "The volume type", name);
	if (ebs->has_volume_size && (ebs->volume_size < 1 || ebs->volume_size > VOLUME_MAX_GIB))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Volume size must be between 1 and %d GiB, not %u", VOLUME_MAX_GIB,
		    ebs->volume_size);
	return 0;
}

static int
check_one(const struct block_device *b, struct err *e)
{
	unsigned kinds = (b->virtual_name != NULL) + (b->no_device != NULL) + (b->ebs != NULL);
	char letter[3];

	if (!b->device_name || !b->device_name[0])
		return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING, "Missing device name");
	if (!parse_device(b->device_name, letter))
		return invalid(e, "Invalid device name", b->device_name);
	if (kinds != 1)
		return invalid(e,
		    "Exactly one of VirtualName, Ebs and NoDevice must be specified for the device",
		    b->device_name);
	if (b->virtual_name && parse_disk(b->virtual_name) < 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.100s) for parameter virtualName is invalid. Expected: 'ephemeral' "
		    "and a "
		    "number below %d",
		    b->virtual_name, INSTANCE_TYPE_DISKS_MAX);
	return b->ebs ? check_ebs(b->device_name, b->ebs, e) : 0;
}

int
clc_devices_check(const struct block_device *asked, size_t count, struct err *e)
{
	char letters[DEVICES_MAX][3] = { { 0 } };
	int r = 0;

	assert(count <= DEVICES_MAX);
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = check_one(&asked[i], e);
		if (r < 0)
			break;
		(void)parse_device(asked[i].device_name, letters[i]); /* it was checked */
		for (size_t k = 0; r == 0 && k < i; k++) {
			if (strcmp(letters[i], letters[k]) == 0)
				r = err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
				    "The device '%.100s' is used in more than one block-device "
				    "mapping",
				    asked[i].device_name);
			else if (asked[i].virtual_name && asked[k].virtual_name &&
				 strcmp(asked[i].virtual_name, asked[k].virtual_name) == 0)
				r = err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
				    "The virtual device '%.100s' is used in more than one "
				    "block-device mapping",
				    asked[i].virtual_name);
		}
	}
	return r;
}

/* -- one over the other -- */

static void
drop(struct devices *d, size_t at)
{
	memmove(&d->items[at], &d->items[at + 1], (--d->count - at) * sizeof(*d->items));
}

/* The device is this now, and the disk is nowhere else. */
static void
put(struct devices *d, const char *name, int disk)
{
	struct device new = { .name = name, .disk = disk };

	if (!parse_device(name, new.letter))
		return;
	for (size_t i = d->count; i-- > 0;)
		if (strcmp(d->items[i].letter, new.letter) == 0 ||
		    (disk >= 0 && d->items[i].disk == disk))
			drop(d, i);
	if (disk >= 0 && d->count < DEVICES_MAX)
		d->items[d->count++] = new;
}

static void
put_type(struct devices *d, size_t disk_count, struct arena *arena)
{
	for (size_t i = 0; i < disk_count; i++)
		put(d, arena_printf(arena, "/dev/vd%c", (char)('b' + i)), (int)i);
}

static void
put_image(struct devices *d, const char *mapping, const char *root_device, struct arena *arena)
{
	struct str rest = str_of(mapping ? mapping : ""), word;

	while (str_split(&rest, ' ', &word)) {
		char *device = arena_str(arena, word), *value = strchr(device, '='), letter[3];

		if (!value)
			continue;
		*value++ = '\0';
		if (parse_device(device, letter) && !is_root(letter, root_device))
			put(d, device, value[0] ? parse_disk(value) : -1);
	}
}

static int
put_root(const struct block_device *b, int64_t image_gib, int64_t *io_root_gib, struct err *e)
{
	if (b->no_device)
		return invalid(e, "The root device cannot be suppressed:", b->device_name);
	if (b->virtual_name)
		return invalid(e, "An ephemeral disk cannot take the place of the root device",
		    b->device_name);
	if (!b->ebs->has_volume_size)
		return 0;
	if (b->ebs->volume_size < image_gib)
		return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
		    "Volume of size %uGB is smaller than the image, expect size >= %lldGB",
		    b->ebs->volume_size, (long long)image_gib);
	if (b->ebs->volume_size > *io_root_gib)
		*io_root_gib = b->ebs->volume_size;
	return 0;
}

static int
put_asked(struct devices *d, const struct block_device *asked, size_t count,
    const char *root_device, int64_t image_gib, int64_t *io_root_gib, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct block_device *b = &asked[i];
		char letter[3];

		(void)parse_device(b->device_name, letter); /* it was checked */
		if (is_root(letter, root_device))
			r = put_root(b, image_gib, io_root_gib, e);
		else if (b->ebs)
			r = unsupported(e, "An EBS volume", b->device_name);
		else
			put(d, b->device_name, b->virtual_name ? parse_disk(b->virtual_name) : -1);
	}
	return r;
}

static int
by_device(const void *a, const void *b)
{
	const struct device *x = a, *y = b;
	size_t m = strlen(x->letter), n = strlen(y->letter);

	return m != n ? (m < n ? -1 : 1) : strcmp(x->letter, y->letter);
}

int
clc_devices_resolve(const struct block_device *asked, size_t count, const char *image_mapping,
    const char *root_device, int64_t image_gib, const struct clc_instance_type *type,
    struct arena *arena, struct clc_devices *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint32_t sizes[INSTANCE_TYPE_DISKS_MAX];
	size_t disk_count = clc_instance_type_disks(type, sizes);
	struct devices d = { .count = 0 };
	int r;

	*ret = (struct clc_devices){ .root_disk_gib = image_gib };
	if (type->root_disk_gib > image_gib)
		ret->root_disk_gib = type->root_disk_gib;
	put_type(&d, disk_count, arena);
	put_image(&d, image_mapping, root_device, arena);
	r = put_asked(&d, asked, count, root_device, image_gib, &ret->root_disk_gib, e);
	if (r < 0)
		return r;
	qsort(d.items, d.count, sizeof(*d.items), by_device);
	for (size_t i = 0; i < d.count; i++) {
		if ((size_t)d.items[i].disk >= disk_count) /* Amazon ignores what a type has not */
			continue;
		strbuf_addf(&text, "%s%s=ephemeral%d:%u", text.n ? " " : "", d.items[i].name,
		    d.items[i].disk, sizes[d.items[i].disk]);
		ret->ephemeral_gib += sizes[d.items[i].disk];
	}
	if (text.n)
		ret->ephemeral_disks = arena_str(arena, strbuf_str(&text));
	return 0;
}

void
clc_devices_spec(const char *ephemeral_disks, struct arena *arena, struct instance_spec *ret)
{
	struct str rest = str_of(ephemeral_disks ? ephemeral_disks : ""), word;

	ret->ephemeral_disks.items =
	    arena_alloc(arena, INSTANCE_TYPE_DISKS_MAX * sizeof(*ret->ephemeral_disks.items));
	while (
	    ret->ephemeral_disks.count < INSTANCE_TYPE_DISKS_MAX && str_split(&rest, ' ', &word)) {
		struct ephemeral_disk *disk =
		    &ret->ephemeral_disks.items[ret->ephemeral_disks.count];
		struct str device, name;

		if (str_split(&word, '=', &device) && str_split(&word, ':', &name) &&
		    str_to_u32(word, &disk->size_gib)) {
			disk->device_name = arena_str(arena, device);
			disk->virtual_name = arena_str(arena, name);
			ret->ephemeral_disks.count++;
		}
	}
}
