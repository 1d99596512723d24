#pragma once
/* The service of common/rpc/walrus.api with our handlers, on walrus' own listener. */
#include "net/http_worker.h"

void internal_call(struct http_call *call, void *arg); /* arg: struct walrus */
