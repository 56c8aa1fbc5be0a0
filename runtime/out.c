#include "runtime/out.h"

#include "coro/alloc.h"

#include <spg/io.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int spg__out_write(int fd, const void *data, size_t len)
{
	ssize_t n = spg_write_all(fd, data, len);

	return n < 0 ? (int)n : 0;
}

struct spg__out *spg__out_new(int fd, int (*write)(int fd, const void *data, size_t len))
{
	struct spg__out *out = spg__alloc(sizeof(*out));

	if (out == NULL)
		return NULL;
	out->fd = fd;
	out->err = 0;
	out->write = write;
	out->len = 0;
	return out;
}

void spg__out_flush(struct spg__out *out)
{
	if (out->err == 0 && out->len > 0)
		out->err = out->write(out->fd, out->buf, out->len);
	out->len = 0;
}

static void put(struct spg__out *out, const char *text, size_t len)
{
	while (len > sizeof(out->buf) - out->len) {
		size_t part = sizeof(out->buf) - out->len;

		memcpy(out->buf + out->len, text, part);
		out->len += part;
		text += part;
		len -= part;
		spg__out_flush(out);
	}
	memcpy(out->buf + out->len, text, len);
	out->len += len;
}

void spg__out_text(struct spg__out *out, const char *text)
{
	put(out, text, strlen(text));
}

static void number(struct spg__out *out, uint64_t value, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	put(out, digits + at, sizeof(digits) - at);
}

void spg__out_u64(struct spg__out *out, uint64_t value)
{
	number(out, value, 10);
}

void spg__out_i64(struct spg__out *out, int64_t value)
{
	if (value < 0)
		put(out, "-", 1);
	number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

void spg__out_hex(struct spg__out *out, uint64_t value)
{
	put(out, "0x", 2);
	number(out, value, 16);
}

/* Names may hold any bytes: what is not printable ASCII comes as \u00XX. */
void spg__out_json_string(struct spg__out *out, const char *text)
{
	put(out, "\"", 1);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		const char escaped[] = { '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4],
					 "0123456789abcdef"[c & 15] };

		if (c < ' ' || c > '~' || c == '"' || c == '\\')
			put(out, escaped, sizeof(escaped));
		else
			put(out, text, 1);
	}
	put(out, "\"", 1);
}

void spg__out_printf(struct spg__out *out, const char *format, ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	SPG_CHECK(n >= 0 && (size_t)n < sizeof(text));
	put(out, text, (size_t)n);
}

int spg__out_end(struct spg__out *out)
{
	int err;

	spg__out_flush(out);
	err = out->err;
	spg__free(out);
	return err;
}
