#pragma once
/* Verbs of the admin socket about zones, nodes and what fits on them. */
#include "clc.h"
#include "net/http_server.h"

void clc_admin_list_zones(struct http_call *call, void *arg);
void clc_admin_set_zone(struct http_call *call, void *arg);
void clc_admin_capacity(struct http_call *call, void *arg);
void clc_admin_maintain(struct http_call *call, void *arg);
void clc_admin_power(struct http_call *call, void *arg);
void clc_admin_remove_node(struct http_call *call, void *arg);
void clc_admin_remove_peer(struct http_call *call, void *arg);
