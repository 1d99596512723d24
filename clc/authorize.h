#pragma once
/* The one function that decides, for every action. */
#include "request.h"

/* `owner` is the account of the resource touched, NULL for none. 0 or ERR_UNAUTHORIZED_OPERATION. */
int clc_authorize(const struct request *rq, const char *owner, struct err *e);
