#pragma once
/* Multipart uploads as rows, for the operations on them: multipart*.c. */
#include "content.h"
#include "request.h"

#define PARTS_MAX 10000
#define PART_MIN (5 * 1024 * 1024)          /* bytes, of all parts but the last */
#define PARTS_BYTES_MAX (UINT64_C(5) << 40) /* of all parts together */

struct upload {
	struct object_attributes attributes;
	char *id, *account_id; /* account_id: whose the object will be */
	char *initiator_id;    /* "": nobody with an account */
	struct str key;
	int64_t bucket_id, created_us;
};
/* With attributes_of_list. */
void upload_of_list(struct store_rows *rows, struct arena *arena, struct upload *ret);
/* In a closure: that which the request names, for this bucket and key. ERR_UPLOAD_NOT_FOUND. */
int upload_find(struct store_tx *tx, struct request *rq, struct upload *ret, struct err *e);
/* The same, for one who may do rq->operation on it (access_upload). */
int upload_open(struct store_tx *tx, struct request *rq, struct upload *ret, struct err *e);
/* In a closure: it is gone, and so are its parts but those that an object has now. */
int upload_drop(struct store_tx *tx, int64_t bucket_id, const char *upload_id, struct err *e);
/* Its Initiator, Owner and StorageClass. */
void upload_write(struct request *rq, struct xml_writer *w, const struct upload *u);

struct part {
	uint32_t number;
	uint64_t size_bytes;
	int64_t modified_us;
	char *etag, *checksum;
};
void part_from_row(struct store_rows *rows, struct arena *arena, struct part *ret);
int part_number_of(const struct request *rq, uint32_t *ret, struct err *e); /* ERR_INVALID_ARGUMENT */

/* One part on its way into its upload: bytes, then a row. */
struct part_writer {
	struct upload upload;
	uint32_t number;
	struct blob_writer *writer;
	struct cipher *cipher;
	struct checksum checksum; /* what the upload wants of its parts */
	bool has_checksum;
	struct blob blob;
	char etag[33], *checksum_text;
	int64_t modified_us;
};
/* ERR_UPLOAD_NOT_FOUND, ERR_INVALID_ARGUMENT, and what encryption_request.h says. of_body: the request's
 * own body comes, with its own checksum. */
int part_writer_begin(struct request *rq, struct part_writer *p, bool of_body, struct err *e);
int part_writer_add(struct part_writer *p, struct str bytes, struct err *e);
/* Durable, and in its place, at return. */
int part_writer_finish(struct request *rq, struct part_writer *p, const uint8_t md5[16], struct err *e);
void part_writer_done(struct part_writer *p);
