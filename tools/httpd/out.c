#include "tools/httpd/out.h"

#include "tools/httpd/calls.h"

#include <errno.h>

int out_begin(struct out *out)
{
	if (out->buf == NULL)
		out->buf = buffer_take();
	if (out->buf == NULL)
		return -ENOMEM;
	return out->err;
}

static int flush(struct out *out, bool more)
{
	size_t len = out->len;
	ssize_t n;

	out->len = 0;
	if (len == 0 || out->err < 0)
		return out->err;
	n = call_send(out->fd, out->buf, len, more, out->send_ns);
	if (n < 0)
		out->err = (int)n;
	else
		out->bytes_sent += len;
	return out->err;
}

int out_flush(struct out *out)
{
	return flush(out, false);
}

ssize_t out_file(struct out *out, int file, uint64_t offset, uint64_t len)
{
	ssize_t n = flush(out, true);

	if (n < 0)
		return n;
	n = call_sendfile(out->fd, &out->file_ready, file, (off_t)offset, (size_t)len, out->send_ns);
	if (n > 0)
		out->bytes_sent += (uint64_t)n;
	else if (n < 0 && n != -EAGAIN)
		out->err = (int)n;
	return n;
}

int out_reserve(struct out *out, size_t room)
{
	return OUT_BYTES - out->len >= room ? out->err : out_flush(out);
}

void out_end(struct out *out)
{
	buffer_give(out->buf);
	out->buf = NULL;
	out->len = 0;
}

void out_put_number(struct out *out, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	out_put(out, digits + at, sizeof(digits) - at);
}
