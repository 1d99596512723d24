#pragma once
#include "request.h"

int multipart_create(struct request *rq, struct err *e);
int multipart_part_begin(struct request *rq, struct err *e);
int multipart_part_data(struct request *rq, struct str bytes, struct err *e);
int multipart_part_copy(struct request *rq, struct err *e);
int multipart_part_run(struct request *rq, struct err *e);
void multipart_part_done(struct request *rq);
int multipart_complete(struct request *rq, struct err *e);
int multipart_abort(struct request *rq, struct err *e);
int multipart_list_parts(struct request *rq, struct err *e);
int multipart_list_uploads(struct request *rq, struct err *e);
