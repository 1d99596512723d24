#pragma once
/* The front door: EC2 and STS by the Query API, /join, and the internal service, on one port. The
 * service is chosen by path, else by the signature's scope, else by Action and Version. */
#include "clc.h"
#include "net/http_worker.h"

/* A http_call_fn; arg is struct clc *. */
void clc_front(struct http_call *call, void *arg);
/* Errors that never reached a service: http_worker_options.refuse. */
void clc_front_refuse(struct http_call *call, int status, const char *message);
