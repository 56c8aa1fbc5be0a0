#include "io/call.h"
#include "io/fdtab.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <spg/net.h>
#include <spg/io.h>
#include <sys/socket.h>

/* Linux 4.18. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
/* One call takes as many segments (64 before Linux 6.9), and as many bytes as one datagram over IPv6. */
#define SEGMENTS_MAX 64u
#define BYTES_MAX 65487u

struct burst {
	int fd;
	const char *buf;
	size_t len, segment_len;
	const struct sockaddr *addr;
	socklen_t addr_len;
};

/* The first `len` bytes, cut by the kernel. */
static ssize_t send_cut(const struct burst *b, size_t len)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
	struct iovec iov = { .iov_base = (void *)b->buf, .iov_len = len };
	struct msghdr msg = {
		.msg_name = (void *)b->addr, .msg_namelen = b->addr_len, .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	uint16_t segment = (uint16_t)b->segment_len;

	cmsg->cmsg_level = IPPROTO_UDP;
	cmsg->cmsg_type = UDP_SEGMENT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(cmsg), &segment, sizeof(segment));
	return spg_sendmsg(b->fd, &msg, 0);
}

/* What a kernel or a device says that cannot cut, or a segment beyond the path's MTU. */
static bool cannot_cut(ssize_t err)
{
	return err == -EINVAL || err == -EIO || err == -EOPNOTSUPP || err == -ENOPROTOOPT || err == -EMSGSIZE;
}

/* One call: many segments, or one. */
static ssize_t send_part(const struct burst *b, bool *cut)
{
	size_t many = BYTES_MAX / b->segment_len, one = b->len < b->segment_len ? b->len : b->segment_len;
	ssize_t sent;

	if (many > SEGMENTS_MAX)
		many = SEGMENTS_MAX;
	if (*cut && many > 1 && b->len > b->segment_len) {
		many *= b->segment_len;
		sent = send_cut(b, many < b->len ? many : b->len);
		if (sent >= 0 || !cannot_cut(sent))
			return sent;
		*cut = false;
	}
	return spg_sendto(b->fd, b->buf, one, 0, b->addr, b->addr_len);
}

/* What is left of the burst afterwards was not sent. 0, or the error of the first part that was not. */
static int send_burst(struct burst *b)
{
	bool cut = true;

	do {
		ssize_t sent = send_part(b, &cut);

		if (sent < 0)
			return (int)sent;
		b->buf += sent;
		b->len -= (size_t)sent;
	} while (b->len > 0);
	return 0;
}

ssize_t spg_udp_send_segments(int fd, const void *buf, size_t len, size_t segment_len,
			      const struct sockaddr *addr, socklen_t addr_len)
{
	struct burst b = {
		.fd = fd, .buf = buf, .len = len, .segment_len = segment_len, .addr = addr, .addr_len = addr_len
	};
	uint32_t word = spg__fdtab_word(fd);
	struct spg__hold hold;
	int err;

	if ((buf == NULL && len > 0) || segment_len == 0 || segment_len > UINT16_MAX)
		return -EINVAL;
	if (word & 1)
		return -EBADF;
	err = spg__hold(&hold, fd, word);
	if (err == 0)
		err = spg__unhold(&hold, send_burst(&b));
	return err < 0 && b.len == len ? err : (ssize_t)(len - b.len);
}
