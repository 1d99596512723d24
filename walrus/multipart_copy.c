/* UploadPartCopy: a range of an object becomes a part. Its bytes are read, checked and written. */
#include "multipart.h"

#include "auth/digest.h"
#include "checksum_value.h"
#include "copy_source.h"
#include "encryption_request.h"
#include "upload.h"

struct part_copy {
	struct part_writer part;
	struct copy_source source;
	EVP_MD_CTX *md5;
};

static int
take(void *arg, struct str bytes, struct err *e)
{
	struct part_copy *c = arg;

	EVP_DigestUpdate(c->md5, bytes.p, bytes.n);
	return part_writer_add(&c->part, bytes, e);
}

static int
choose_range(struct request *rq, const struct copy_source *s, uint64_t *ret_first,
    uint64_t *ret_count, struct err *e)
{
	struct str range = request_header(rq, "x-amz-copy-source-range");
	int r = 0;

	*ret_first = 0;
	*ret_count = s->object.size_bytes;
	if (range.p)
		r = copy_range_parse(range, s->object.size_bytes, ret_first, ret_count, e);
	if (r == 0 && *ret_count > COPY_BYTES_MAX)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The specified copy source is larger than the maximum allowable size for a "
		    "copy "
		    "source: %llu",
		    (unsigned long long)COPY_BYTES_MAX);
	return r;
}

static void
write_reply(struct request *rq, const struct part_copy *c)
{
	struct xml_writer *w;

	copy_source_reply(rq, &c->source);
	encryption_reply(rq, c->part.upload.attributes.encryption);
	w = reply_xml(rq, "CopyPartResult");
	xml_time(w, "LastModified", c->part.modified_us);
	xml_elementf(w, "ETag", "\"%s\"", c->part.etag);
	checksum_write(rq, w, c->part.checksum_text, false);
	reply_xml_end(rq, "CopyPartResult");
}

static int
copy_part(struct request *rq, struct part_copy *c, struct err *e)
{
	uint64_t first, count;
	uint8_t md5[16];
	int r = part_writer_begin(rq, &c->part, false, e);

	if (r == 0)
		r = copy_source_open(rq, &c->source, e);
	if (r == 0)
		r = choose_range(rq, &c->source, &first, &count, e);
	if (r < 0)
		return r;
	c->md5 = digest_begin(DIGEST_MD5);
	r = content_reader_each(c->source.reader, first, count, take, c, e);
	digest_end(TAKE(c->md5), md5);
	return r < 0 ? r : part_writer_finish(rq, &c->part, md5, e);
}

int
multipart_part_copy(struct request *rq, struct err *e)
{
	struct part_copy c = { 0 };
	int r = copy_part(rq, &c, e);

	if (r == 0)
		write_reply(rq, &c);
	part_writer_done(&c.part);
	copy_source_done(&c.source);
	return r;
}
