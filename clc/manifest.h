#pragma once
/* Manifests of bundles, as euca2ools and Amazon's AMI tools write them (version 2007-10-10): what an image
 * is, which objects hold it, and the key that it is encrypted with, wrapped for the cloud and for its user. */
#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"

#define MANIFEST_BYTES_MAX (1024 * 1024)
#define MANIFEST_PARTS_MAX 2048
#define MANIFEST_MAPPINGS_MAX 26
#define MANIFEST_KEY_HEX 32 /* digits of an AES-128 key, and of its IV */

struct manifest_part {
	const char *filename; /* lies beside the manifest: no '/' */
	const char *sha1;     /* lower-case hex */
};
struct manifest_mapping {
	const char *virtual_name, *device; /* "ephemeral0", "sdb" */
};
struct manifest { /* strings from the arena */
	const char *architecture, *kernel_id, *ramdisk_id; /* ids are "true" in kernels and ramdisks themselves */
	const char *name, *user, *type;                    /* "machine", "kernel" or "ramdisk" */
	const char *sha1;                                  /* of the tar archive before it was compressed */
	uint64_t size_bytes, bundled_bytes;                /* of the file in it; of all parts */
	const char *cloud_key, *cloud_iv, *user_key, *user_iv; /* wrapped, hex */
	struct manifest_part *parts;
	size_t part_count;
	struct manifest_mapping *mappings;
	size_t mapping_count;
	struct str signed_text; /* <machine_configuration>...</machine_configuration><image>...</image> */
	const char *signature;  /* hex */
};

/* What is returned was read from the signed text and from nothing else. INVALID_MANIFEST says what is
 * wrong with it. */
int manifest_parse(struct str text, struct arena *arena, struct manifest *ret, struct err *e);
/* Whether the key in that certificate made the signature (RSA, SHA-1); a certificate that can't be read
 * made none. */
bool manifest_is_signed_by(const struct manifest *m, const char *certificate_pem);
/* What was wrapped for the private key in that PEM file, as hex digits: the key of AES, or its IV.
 * INVALID_MANIFEST for what does not unwrap to MANIFEST_KEY_HEX digits. */
int manifest_unwrap(const char *key_path, const char *wrapped_hex, char ret[MANIFEST_KEY_HEX + 1],
    struct err *e);
/* The way out: hex digits wrapped for the key in a certificate, as hex from the arena. */
int manifest_wrap(const char *certificate_pem, const char *hex, struct arena *arena, const char **ret,
    struct err *e);
/* Everything but signed_text and signature, which are made here with the private key in that file. */
int manifest_write(const struct manifest *m, const char *key_path, struct strbuf *out, struct err *e);
