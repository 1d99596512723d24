#pragma once
/* Instances as EC2 shows them. */
#include "clc/ec2.api.h"
#include "instance.h"

/* The whole reservation, into the request's arena. */
int clc_describe_reservation(struct store_tx *tx, struct request *rq, const char *reservation_id,
    struct reservation *ret, struct err *e);
