#pragma once
/* PostObject: a browser's form as a PUT. S3 API reference, "POST Object" and "Browser-based
 * uploads". */
#include "base/err.h"
#include "base/str.h"

struct request;

/* From now on the bytes of the body are those of the form. */
int post_begin(struct request *rq, struct err *e);
int post_run(struct request *rq, struct err *e);
void post_answer(struct request *rq);
void post_done(struct request *rq);
