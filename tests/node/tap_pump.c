/* Stands in for a guest: holds the dataplane's tap as QEMU would (by descriptor, opened in the
 * node's namespace before the tap moves away) and carries each frame to and from a second tap in
 * the namespace that plays the guest, so that ordinary tools work there. tap_pump TAP NETNS DEVICE
 * MAC     says "ready" when both ends are open */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <net/if_arp.h>
#include <unistd.h>

#define FRAME_MAX (70 * 1024)

static int
tap_open(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		perror(name);
		return -1;
	}
	return fd;
}

static int
set_mac(const char *name, const char *mac)
{
	struct ifreq request = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	unsigned char *out = (unsigned char *)request.ifr_hwaddr.sa_data;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", out, out + 1, out + 2, out + 3, out + 4,
		out + 5) != 6)
		return -1;
	r = ioctl(fd, SIOCSIFHWADDR, &request);
	close(fd);
	return r;
}

int
main(int argc, char **argv)
{
	static char frame[FRAME_MAX];
	struct pollfd ends[2];
	int netns;

	if (argc != 5)
		return 2;
	ends[0] = (struct pollfd){ .fd = tap_open(argv[1]), .events = POLLIN };
	netns = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (netns < 0 || setns(netns, CLONE_NEWNET) < 0) {
		perror(argv[2]);
		return 1;
	}
	ends[1] = (struct pollfd){ .fd = tap_open(argv[3]), .events = POLLIN };
	if (ends[0].fd < 0 || ends[1].fd < 0 || set_mac(argv[3], argv[4]) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(ends, 2, -1) < 0)
			return 1;
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (ends[i].revents & (POLLERR | POLLNVAL))
				return 0; /* the tap was removed */
			if (!(ends[i].revents & POLLIN))
				continue;
			/* A tap that is down refuses frames: so does a cable that is out. */
			while ((n = read(ends[i].fd, frame, sizeof(frame))) > 0)
				if (write(ends[!i].fd, frame, (size_t)n) < 0)
					continue;
		}
	}
}
