/* The server of bench_http_get_1k.py: GET of 1 KiB from memory on one loop. Prints its port, then
 * serves until it is killed. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "net/http_server.h"

static char body[1024];

static void
on_head(struct http_exchange *x, void *arg)
{
	http_reply(x, 200, "application/octet-stream", body, sizeof(body));
}

int
main(void)
{
	struct http_server_options options = {
		.name = "bench", .handler = { .head = on_head }, .server_header = "Mallee"
	};
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	struct http_server *server;
	struct loop *loop;
	struct err e;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(body, 'x', sizeof(body));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
		perror("cannot listen");
		return 1;
	}
	if (loop_new(&loop, &e) < 0 || http_server_new(loop, &options, &fd, 1, &server, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	loop_run(loop);
	return 0;
}
