#pragma once
/* CreateImage: an image of what is on an instance's root disk, made by a bundle task of kind "image". */
#include "bundle_task.h"

/* What the task says of its image, in its transactions. */
/* The export is there: walrus makes the image of it. */
int clc_image_create_exported(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e);
int clc_image_create_failed(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e);
/* What became of the image: *ret_event is what the task is to be told, BUNDLE_EVENT_MAX: nothing yet. The reason
 * comes from the arena. */
int clc_image_create_look(struct store_tx *tx, const struct clc_bundle_task *t, struct arena *arena,
    enum bundle_event *ret_event, const char **ret_code, const char **ret_message, struct err *e);
