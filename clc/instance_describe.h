#pragma once
/* Instances as EC2 shows them. */
#include "clc/ec2.api.h"
#include "instance.h"

/* The whole reservation, into the request's arena. */
int clc_describe_reservation(struct store_tx *tx, struct request *rq, const char *reservation_id,
    struct reservation *ret, struct err *e);
/* What is decided of its metadata, and whether its zone has been told. */
struct metadata_options_state *clc_describe_metadata_options(
    const struct clc_instance *i, struct arena *arena);
