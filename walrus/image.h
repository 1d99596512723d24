#pragma once
/* Images that the clc has made of objects (StoreImage): each one object, under its image id, in a bucket of
 * its account that no user can name. */
#include "bucket.h"
#include "rpc/walrus.api.h"

struct images;
struct images *images_new(struct walrus *w);
/* What is under way ends without a trace: the clc asks again. */
void images_free(struct images *i);

/* See walrus.api. */
int image_store(struct walrus *w, const struct walrus_store_image_in *in, struct arena *arena,
    struct walrus_store_image_out *out, struct err *e);
int image_delete(struct walrus *w, const char *account_id, const char *image_id, struct err *e);
