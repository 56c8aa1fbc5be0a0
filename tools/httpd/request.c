#include "tools/httpd/request.h"

#include <string.h>
#include <strings.h>

static struct request *request_of(llhttp_t *parser)
{
	return (struct request *)parser; /* its first member */
}

/* Pieces of a part follow each other: Q1. */
static void extend(struct request *r, struct part *part, const char *at, size_t len)
{
	if (part->len == 0)
		part->at = (uint32_t)(at - r->base);
	part->len += (uint32_t)len;
	if (part->at + part->len > r->kept_bytes)
		r->kept_bytes = part->at + part->len;
}

static int refuse(struct request *r, uint16_t status)
{
	r->status = status;
	return HPE_USER;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
	struct request *r = request_of(parser);

	extend(r, &r->target, at, len);
	return 0;
}

static int on_url_complete(llhttp_t *parser)
{
	request_of(parser)->target_done = true;
	return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
	struct request *r = request_of(parser);

	extend(r, &r->name, at, len);
	return 0;
}

/* The first of several counts, but for Host. */
static struct part *part_for(struct request *r, const char *name, size_t len)
{
	static const struct {
		const char *name;
		size_t at;
	} known[] = {
		{ "host", offsetof(struct request, host) },
		{ "range", offsetof(struct request, range) },
		{ "if-range", offsetof(struct request, if_range) },
		{ "if-match", offsetof(struct request, if_match) },
		{ "if-none-match", offsetof(struct request, if_none_match) },
		{ "if-modified-since", offsetof(struct request, if_modified_since) },
		{ "if-unmodified-since", offsetof(struct request, if_unmodified_since) },
	};

	if (name[0] != 'i' && name[0] != 'I' && name[0] != 'r' && name[0] != 'R' && name[0] != 'h' && name[0] != 'H')
		return NULL;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len && strncasecmp(name, known[i].name, len) == 0)
			return (struct part *)((char *)r + known[i].at);
	return NULL;
}

static int on_header_field_complete(llhttp_t *parser)
{
	struct request *r = request_of(parser);
	const char *name = r->base + r->name.at;
	size_t len = r->name.len;

	r->name.len = 0;
	r->value = part_for(r, name, len);
	if (r->value == &r->host && ++r->hosts_count > 1)
		return refuse(r, 400);
	if (r->value != NULL && r->value->len > 0)
		r->value = NULL;
	if (len == 6 && strncasecmp(name, "expect", 6) == 0)
		r->expects = true;
	return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
	struct request *r = request_of(parser);

	if (r->value != NULL)
		extend(r, r->value, at, len);
	return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
	request_of(parser)->value = NULL;
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	struct request *r = request_of(parser);

	r->headers_done = true;
	if (parser->http_major != 1)
		return refuse(r, 505);
	if (parser->http_minor >= 1 && r->hosts_count == 0)
		return refuse(r, 400);
	if ((parser->flags & F_CONTENT_LENGTH) != 0 && parser->content_length > REQUEST_BODY_BYTES_MAX)
		return refuse(r, 413);
	return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
	struct request *r = request_of(parser);

	(void)at;
	r->body_bytes += (uint32_t)len;
	return r->body_bytes > REQUEST_BODY_BYTES_MAX ? refuse(r, 413) : 0;
}

static int on_message_complete(llhttp_t *parser)
{
	request_of(parser)->done = true;
	return HPE_PAUSED; /* Q2 */
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_url_complete = on_url_complete,
	.on_header_field = on_header_field,
	.on_header_field_complete = on_header_field_complete,
	.on_header_value = on_header_value,
	.on_header_value_complete = on_header_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void request_begin(struct request *r)
{
	memset(r, 0, sizeof(*r));
	llhttp_init(&r->parser, HTTP_REQUEST, &settings);
}

/* A method llhttp does not know, or no request at all? */
static int unknown_method(const char *base, size_t len)
{
	size_t i = 0;

	while (i < len && (base[i] == '\r' || base[i] == '\n'))
		i++;
	len = len - i > 32 ? i + 32 : len;
	for (size_t start = i; i < len; i++)
		if (base[i] < 'A' || base[i] > 'Z')
			return base[i] == ' ' && i > start ? 501 : 400;
	return 400;
}

/* The status that says what is wrong. */
static int error_status(const struct request *r, llhttp_errno_t err, const char *base, size_t len)
{
	if (r->status != 0)
		return r->status;
	switch (err) {
	case HPE_INVALID_VERSION:
	case HPE_PAUSED_H2_UPGRADE: /* "PRI * HTTP/2.0" */
		return 505;
	case HPE_INVALID_METHOD:
		return unknown_method(base, len);
	default:
		return 400;
	}
}

int request_feed(struct request *r, const char *base, size_t from, size_t to, size_t *end)
{
	llhttp_errno_t err;

	r->base = base;
	err = llhttp_execute(&r->parser, base + from, to - from);
	if (err == HPE_OK)
		return REQUEST_MORE;
	if (!r->done)
		return error_status(r, err, base, to);
	*end = (size_t)(llhttp_get_error_pos(&r->parser) - base);
	return REQUEST_DONE;
}

bool request_keeps_alive(const struct request *r)
{
	return llhttp_should_keep_alive(&r->parser) != 0;
}
