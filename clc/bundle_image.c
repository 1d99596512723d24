/* A bundle task of kind "image" and its image: what each says to the other, in transactions of the
 * task. */
#include "bundle_task.h"

#include "image.h"

int
clc_bundle_image_exported(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e)
{
	const struct image_part part = { .key = t->export_key,
		.size_bytes = (uint64_t)t->archive_bytes };
	const struct clc_image_source source = { .reader_id = t->account_id,
		.as_service = true,
		.bucket = t->export_bucket,
		.parts = &part,
		.part_count = 1,
		.is_archive = true,
		.file_bytes = (uint64_t)t->size_bytes };

	return clc_image_set_source(tx, t->image_id, &source, e);
}

int
clc_bundle_image_failed(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct clc_image image;
	int r = clc_image_load(tx, t->image_id, arena, &image, e);

	if (r == ERR_IMAGE_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	return r < 0 || strcmp(image.state, "pending") != 0
		   ? r
		   : clc_image_fail(tx, &image,
			 t->error_code ? t->error_code : "Server.InternalError", t->error_message,
			 e);
}

int
clc_bundle_image_look(struct store_tx *tx, const struct clc_bundle_task *t, struct arena *arena,
    enum bundle_event *ret_event, const char **ret_code, const char **ret_message, struct err *e)
{
	struct clc_image image;
	int r = clc_image_load(tx, t->image_id, arena, &image, e);

	*ret_event = BUNDLE_EVENT_MAX;
	if (r == ERR_IMAGE_NOT_FOUND) {
		err_clear(e);
		*ret_event = BUNDLE_EV_CANCEL;
		return 0;
	}
	if (r < 0)
		return r;
	if (image.is_deregistered) {
		*ret_event = BUNDLE_EV_CANCEL;
	} else if (strcmp(image.state, "available") == 0) {
		*ret_event = BUNDLE_EV_STORED;
	} else if (strcmp(image.state, "failed") == 0) {
		*ret_event = BUNDLE_EV_FAILED;
		*ret_code = image.reason_code;
		*ret_message = image.reason_message;
	}
	return 0;
}
