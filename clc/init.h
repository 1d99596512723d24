#pragma once
/* `mallee-clc init`: makes a cloud where there is none. */
int clc_init_command(const void *conf, int argc, char **argv);
