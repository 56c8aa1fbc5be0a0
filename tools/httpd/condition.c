#include "tools/httpd/condition.h"

#include <string.h>
#include <strings.h>

struct text {
	const char *at;
	size_t len;
};

static struct text text_of(const struct part *part, const char *base)
{
	return (struct text){ .at = base + part->at, .len = part->len };
}

/* Does a list of entity tags name this one? Strongly: W/"..." names none. */
static bool names_tag(struct text list, const struct file *file, bool weakly)
{
	const char *at = list.at, *end = list.at + list.len;

	if (list.len == 1 && *at == '*')
		return true;
	while (at < end) {
		bool weak = end - at > 2 && at[0] == 'W' && at[1] == '/';
		const char *tag = weak ? at + 2 : at, *close;

		if (*tag != '"') { /* a comma, a blank, or what is no list */
			at++;
			continue;
		}
		close = memchr(tag + 1, '"', (size_t)(end - tag - 1));
		if (close == NULL)
			return false;
		at = close + 1;
		if ((weakly || !weak) && (size_t)(at - tag) == file->etag_len &&
		    memcmp(tag, file->etag, file->etag_len) == 0)
			return true;
	}
	return false;
}

/* Not changed since the date in that header? False as well when it is no date. */
static bool unchanged_since(struct text date, const struct file *file, bool *is_date)
{
	time_t when = 0;

	*is_date = date_read(date.at, date.len, &when);
	return *is_date && file->modified <= when;
}

/* 0: go on; else 304 or 412. */
static int precondition(const struct request *r, const char *base, const struct file *file)
{
	bool is_date, unchanged;

	if (r->if_match.len > 0) {
		if (!names_tag(text_of(&r->if_match, base), file, false))
			return 412;
	} else if (r->if_unmodified_since.len > 0) {
		unchanged = unchanged_since(text_of(&r->if_unmodified_since, base), file, &is_date);
		if (is_date && !unchanged)
			return 412;
	}
	if (r->if_none_match.len > 0)
		return names_tag(text_of(&r->if_none_match, base), file, true) ? 304 : 0;
	if (r->if_modified_since.len > 0 &&
	    unchanged_since(text_of(&r->if_modified_since, base), file, &is_date))
		return 304;
	return 0;
}

/* The range is meant for what the client has a part of already. */
static bool range_applies(const struct request *r, const char *base, const struct file *file)
{
	struct text tag = text_of(&r->if_range, base);
	time_t when;

	if (tag.len == 0)
		return true;
	if (tag.at[0] == '"' || tag.at[0] == 'W')
		return tag.len == file->etag_len && memcmp(tag.at, file->etag, tag.len) == 0;
	return date_read(tag.at, tag.len, &when) && when == file->modified;
}

/* Digits at *at; too large ones saturate. False: there is none. */
static bool read_number(const char **at, const char *end, uint64_t *number)
{
	const char *start = *at;

	*number = 0;
	for (; *at < end && **at >= '0' && **at <= '9'; ++*at)
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)(**at - '0'), number))
			*number = UINT64_MAX;
	return *at > start;
}

/* One range, into *s. What is no single range of bytes is passed over: 200 with all of it. */
static void select_range(struct text range, uint64_t size, struct selection *s)
{
	const char *at = range.at, *end = range.at + range.len;
	uint64_t first, last = UINT64_MAX;
	bool has_first, has_last;

	if (range.len < 6 || strncasecmp(at, "bytes=", 6) != 0)
		return;
	at += 6;
	has_first = read_number(&at, end, &first);
	if (at == end || *at++ != '-')
		return;
	has_last = read_number(&at, end, &last);
	if (at != end || (!has_first && !has_last) || (has_first && has_last && first > last))
		return;
	if (!has_first) { /* so many at the end */
		first = last < size ? size - last : 0;
		has_last = last > 0; /* none: cannot be satisfied */
		last = UINT64_MAX;
		if (!has_last)
			first = size;
	} else if (!has_last) {
		last = UINT64_MAX;
	}
	if (first >= size) {
		s->status = 416;
		return;
	}
	s->status = 206;
	s->first = first;
	s->len = (last < size ? last + 1 : size) - first;
}

struct selection condition_apply(const struct request *r, const char *base, const struct file *file)
{
	struct selection s = { .status = precondition(r, base, file), .len = file->size_bytes };

	if (s.status != 0)
		return s;
	s.status = 200;
	if (r->range.len > 0 && r->parser.method == HTTP_GET && range_applies(r, base, file))
		select_range(text_of(&r->range, base), file->size_bytes, &s);
	return s;
}
