#include "tools/httpd/path.h"

#include <stdbool.h>
#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at target[*at], decoded; *at moves behind it. Negative: none. */
static int next_byte(const char *target, size_t len, size_t *at)
{
	int high, low;

	if (target[*at] != '%')
		return (unsigned char)target[(*at)++];
	if (len - *at < 3)
		return -1;
	high = hex_value(target[*at + 1]);
	low = hex_value(target[*at + 2]);
	*at += 3;
	return high < 0 || low < 0 || (high == 0 && low == 0) ? -1 : high * 16 + low;
}

/* "http://host/path" is "/path" (RFC 9112, 3.2.2). */
static size_t authority_end(const char *target, size_t len)
{
	const char *slashes, *path;

	if (len == 0 || target[0] == '/')
		return 0;
	slashes = memmem(target, len, "://", 3);
	if (slashes == NULL)
		return 0;
	slashes += 3;
	path = memchr(slashes, '/', len - (size_t)(slashes - target));
	return path == NULL ? len : (size_t)(path - target);
}

/*
 * A segment has ended: out[start] to out[*at]. "." goes, ".." goes with the one before it.
 * False: there is none before it.
 */
static bool end_segment(char *out, size_t start, size_t *at)
{
	size_t len = *at - start;

	if (len == 1 && out[start] == '.') {
		*at = start;
	} else if (len == 2 && out[start] == '.' && out[start + 1] == '.') {
		if (start == 0)
			return false;
		for (*at = start - 1; *at > 0 && out[*at - 1] != '/'; --*at)
			;
	}
	return true;
}

int path_from_target(const char *target, size_t len, char out[PATH_BYTES])
{
	size_t at = authority_end(target, len), n = 0, segment = 0;
	bool folder = at == len;

	if (!folder && target[at] != '/')
		return -400;
	while (at < len && target[at] != '?' && target[at] != '#') {
		int byte = next_byte(target, len, &at);

		if (byte < 0)
			return -400;
		if (n + sizeof(PATH_INDEX) + 1 > PATH_BYTES)
			return -414;
		if (byte != '/') {
			out[n++] = (char)byte;
			folder = false;
			continue;
		}
		if (!end_segment(out, segment, &n))
			return -400;
		if (n > 0 && out[n - 1] != '/')
			out[n++] = '/';
		segment = n;
		folder = true;
	}
	if (n - segment == 1 || n - segment == 2)
		folder |= memcmp(out + segment, "..", n - segment) == 0;
	if (!end_segment(out, segment, &n))
		return -400;
	if (folder) {
		memcpy(out + n, PATH_INDEX, sizeof(PATH_INDEX) - 1);
		n += sizeof(PATH_INDEX) - 1;
	}
	out[n] = '\0';
	return (int)n;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("/-._~", c) != NULL);
}

size_t path_to_target(const char *path, size_t len, char *out, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;

	if (len * 3 + 2 > size)
		return 0;
	out[n++] = '/';
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)path[i];

		if (is_plain(path[i])) {
			out[n++] = path[i];
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 15];
	}
	out[n++] = '/';
	return n;
}
