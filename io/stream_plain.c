/*
 * Streams without a multishot receive, and what both ways share: the slice, and sending.
 *
 * A buffer is got when the descriptor is readable, not before: who waits holds none.
 */
#include "io/stream.h"

#include "coro/alloc.h"
#include "io/call.h"
#include "io/fdtab.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <spg/io.h>

/* Linux 5.0; Debian 12's <netinet/udp.h> has it, older ones do not. */
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

const struct msghdr spg__stream_msghdr = {
	.msg_namelen = sizeof(struct sockaddr_storage),
	.msg_controllen = SPG__STREAM_CONTROL,
};

static size_t payload_bytes(const struct spg_stream *s)
{
	return spg__bufs_class_bytes(s->class) - (s->datagrams ? SPG__STREAM_HEAD : 0);
}

/* Receives without waiting into the layout that the ring uses. */
static int recv_datagram(struct spg_stream *s, struct spg__buf *buf)
{
	struct io_uring_recvmsg_out *head = (void *)spg__buf_data(buf);
	char *name = (char *)(head + 1), *control = name + sizeof(struct sockaddr_storage);
	struct iovec iov = { .iov_base = control + SPG__STREAM_CONTROL, .iov_len = payload_bytes(s) };
	struct msghdr msg = spg__stream_msghdr;
	ssize_t n;

	msg.msg_name = name;
	msg.msg_control = control;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	n = spg_recvmsg(s->fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return (int)n;
	*head = (struct io_uring_recvmsg_out){
		.namelen = msg.msg_namelen,
		.controllen = (uint32_t)msg.msg_controllen,
		.payloadlen = (uint32_t)n,
		.flags = (uint32_t)msg.msg_flags,
	};
	return (int)(SPG__STREAM_HEAD + (size_t)n);
}

static int recv_bytes(struct spg_stream *s, struct spg__buf *buf)
{
	if (s->datagrams)
		return recv_datagram(s, buf);
	if (s->socket)
		return (int)spg_recv(s->fd, spg__buf_data(buf), payload_bytes(s), MSG_DONTWAIT);
	return (int)spg_read(s->fd, spg__buf_data(buf), payload_bytes(s));
}

static int recv_once(struct spg_stream *s, struct spg__buf **out)
{
	int res = spg__io_ready(s->fd, POLLIN | POLLRDHUP);
	struct spg__buf *buf;

	if (res < 0)
		return res;
	buf = spg__buf_new(spg__bufs_class_bytes(s->class));
	if (buf == NULL)
		return -ENOMEM;
	res = recv_bytes(s, buf);
	if (res <= 0) {
		spg__free(buf);
		return res;
	}
	buf->len = (uint32_t)res;
	*out = buf;
	return 0;
}

int spg__stream_plain(struct spg_stream *s, struct spg__buf **out)
{
	struct spg__hold hold;
	int res = spg__hold(&hold, s->fd, s->word); /* T9 */

	if (res < 0)
		return res;
	/* Somebody else took what there was. */
	do
		res = recv_once(s, out);
	while (res == -EAGAIN);
	return spg__unhold(&hold, res);
}

static uint32_t segment_bytes(struct io_uring_recvmsg_out *head)
{
	struct msghdr msg = spg__stream_msghdr;
	int value;

	for (struct cmsghdr *cmsg = io_uring_recvmsg_cmsg_firsthdr(head, &msg); cmsg != NULL;
	     cmsg = io_uring_recvmsg_cmsg_nexthdr(head, &msg, cmsg)) {
		if (cmsg->cmsg_level != IPPROTO_UDP || cmsg->cmsg_type != UDP_GRO)
			continue;
		memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
		return (uint32_t)value;
	}
	return 0;
}

static void slice_datagram(struct spg__buf *buf, struct spg_slice *out)
{
	char *data = spg__buf_data(buf);
	struct io_uring_recvmsg_out *head = (void *)data;

	SPG_CHECK(buf->len >= SPG__STREAM_HEAD);
	out->data = data + SPG__STREAM_HEAD;
	out->len = buf->len - SPG__STREAM_HEAD;
	out->truncated = (head->flags & MSG_TRUNC) != 0;
	out->segment_len = segment_bytes(head);
	if (head->namelen == 0)
		return;
	out->source = (const struct sockaddr *)(const void *)(head + 1);
	out->source_len = head->namelen < sizeof(struct sockaddr_storage) ? head->namelen :
									      sizeof(struct sockaddr_storage);
}

void spg__stream_slice(const struct spg_stream *s, struct spg__buf *buf, struct spg_slice *out)
{
	*out = (struct spg_slice){ .data = spg__buf_data(buf), .len = buf->len, .owner = buf };
	if (s->datagrams)
		slice_datagram(buf, out);
}

/* What is left of a part goes alone; whole parts go as they stand, as many as one call takes. */
static int send_some(const struct spg_stream *s, const struct iovec *iov, int n, size_t done)
{
	struct iovec rest = { .iov_base = (char *)iov->iov_base + done, .iov_len = iov->iov_len - done };
	struct msghdr msg = { .msg_iov = &rest, .msg_iovlen = 1 };

	if (done == 0) {
		msg.msg_iov = (struct iovec *)iov; /* sendmsg(2) only reads it */
		msg.msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX);
	}
	if (s->socket)
		return (int)spg_sendmsg(s->fd, &msg, 0);
	return (int)spg_writev(s->fd, msg.msg_iov, (int)msg.msg_iovlen);
}

static int send_stream(const struct spg_stream *s, const struct iovec *iov, int n)
{
	size_t done = 0; /* of the first part that is left */

	for (;;) {
		int res;

		for (; n > 0 && done >= iov->iov_len; n--, iov++)
			done -= iov->iov_len;
		if (n == 0)
			return 0;
		res = send_some(s, iov, n, done);
		if (res < 0)
			return res;
		if (res == 0)
			return -EIO; /* a device that takes nothing and says nothing */
		done += (size_t)res;
	}
}

static int send_datagram(const struct spg_stream *s, const struct iovec *iov, int n)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
	ssize_t res = spg_sendmsg(s->fd, &msg, 0);

	return res < 0 ? (int)res : 0;
}

int spg_stream_send_all(spg_stream *s, const struct iovec *iov, int n)
{
	struct spg__hold hold;
	int res;

	if (s == NULL || n < 0 || (iov == NULL && n > 0) || (s->datagrams && n > IOV_MAX))
		return -EINVAL;
	res = spg__io_entry();
	if (res == 0)
		res = spg__hold(&hold, s->fd, s->word); /* T9 */
	if (res < 0)
		return res;
	res = s->datagrams ? send_datagram(s, iov, n) : send_stream(s, iov, n);
	return spg__unhold(&hold, res);
}
