#pragma once
/* A guest's libvirt definition, written from the typed spec alone. */
#include "base/strbuf.h"
#include "nc/helper_protocol.h"

/* Namespace of our element in <metadata>: it holds the generation. */
#define DOMAIN_METADATA_URI "https://mallee.cloud/ns/domain/1"
#define DOMAIN_METADATA_KEY "mallee"

struct domain_surroundings {  /* the helper's own choices, none of them a peer's */
	const char *type;     /* "kvm", "qemu", "test" */
	const char *emulator; /* NULL: libvirt's own */
	const char *instances_dir, *cache_dir, *console_dir;
	const char *screen_dir; /* the guests' user makes its sockets there */
	const char *disk_cache; /* "none", or "writeback" where O_DIRECT is not to be had */
	uint32_t default_shares; /* libvirt's, for 1024 of ours; 0: it bounds nobody */
	const char *seclabel;   /* "+64055:+108"; NULL: libvirt's own */
};
void domain_xml_write(const struct helper_guest_spec *spec,
    const struct domain_surroundings *around, struct strbuf *out);
/* Always the same for an instance, and starts with "ec2" as cloud-init wants it. */
void domain_uuid(const char *instance_id, char out[37]);
