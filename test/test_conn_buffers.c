/*
 * Readers, writers and frames against plain models: every split of small inputs, random ones of
 * large inputs, with errors in between. The stream is scripted, so there is nothing to wait for.
 */
#include "t.h"

#include "coro/fault.h"

#include <arpa/inet.h>

/* Gives `data` in pieces; takes bytes into `out` in pieces. */
struct script {
	const char *data;
	size_t len, at;
	/* A cut after byte i where bit i is set; or, with a random state, anywhere. */
	uint64_t cuts;
	uint64_t random;
	/* Fails with err before each piece where the bit is set, once. */
	uint64_t errors;
	int err;
	char *out;
	size_t out_len, out_max;
	/* What writes say when out is full. */
	int full_err;
};

static bool fails_now(struct script *s, size_t at)
{
	if (s->random != 0)
		return s->err != 0 && t_random(&s->random) % 4 == 0;
	if (at >= 64 || (s->errors >> at & 1) == 0)
		return false;
	s->errors &= ~((uint64_t)1 << at);
	return true;
}

static size_t piece(struct script *s, size_t at, size_t len)
{
	size_t n = 0;

	if (s->random != 0)
		return 1 + t_random(&s->random) % (t_random(&s->random) & 1 ? len : len < 20 ? len : 20);
	while (n < len && (n == 0 || (s->cuts >> (at + n - 1) & 1) == 0))
		n++;
	return n;
}

static ssize_t script_read(void *self, void *buf, size_t len)
{
	struct script *s = self;
	size_t left = s->len - s->at, n;

	T_OK(len > 0);
	if (fails_now(s, s->at))
		return s->err;
	if (left == 0)
		return 0;
	n = piece(s, s->at, len < left ? len : left);
	memcpy(buf, s->data + s->at, n);
	s->at += n;
	return (ssize_t)n;
}

static ssize_t script_write(void *self, const void *buf, size_t len)
{
	struct script *s = self;
	size_t left = s->out_max - s->out_len, n;

	T_OK(len > 0);
	if (fails_now(s, s->out_len))
		return s->err;
	if (left == 0)
		return s->full_err;
	n = piece(s, s->out_len, len < left ? len : left);
	memcpy(s->out + s->out_len, buf, n);
	s->out_len += n;
	return (ssize_t)n;
}

static ssize_t script_writev(void *self, const struct iovec *iov, int count)
{
	ssize_t done = 0;

	for (int i = 0; i < count; i++) {
		ssize_t n = iov[i].iov_len > 0 ? script_write(self, iov[i].iov_base, iov[i].iov_len) : 0;

		if (n < 0)
			return done > 0 ? done : n;
		done += n;
		if ((size_t)n < iov[i].iov_len)
			break;
	}
	return done;
}

static int script_close(void *self)
{
	(void)self;
	return 0;
}

static const spg_conn_ops script_ops = {
	.size = sizeof(spg_conn_ops),
	.read = script_read,
	.write = script_write,
	.close = script_close,
	.writev = script_writev,
};

/* As if made by a program that knows no writev. */
static const spg_conn_ops small_ops = {
	.size = offsetof(spg_conn_ops, writev),
	.read = script_read,
	.write = script_write,
	.close = script_close,
	.writev = (ssize_t(*)(void *, const struct iovec *, int))1,
};

static spg_conn *scripted(struct script *s)
{
	static unsigned count;
	spg_conn *c = spg_conn_new(count++ & 1 ? &small_ops : &script_ops, s);

	T_OK(c != NULL);
	return c;
}

/* Repeats a call while it fails with the script's error. */
#define AGAIN(res, call, s)                                                                        \
	do                                                                                         \
		(res) = (call);                                                                    \
	while ((res) == (s)->err && (s)->err != 0)

/* What a line is: its length with its end, -EMSGSIZE, or 0 at the end. */
static ssize_t model_until(const char *data, size_t len, size_t limit, char delimiter)
{
	const char *at = len > 0 ? memchr(data, delimiter, len < limit ? len : limit) : NULL;

	if (at != NULL)
		return at - data + 1;
	return len >= limit ? -EMSGSIZE : (ssize_t)len;
}

static void expect_line(spg_reader *r, struct script *s, size_t *pos, size_t limit)
{
	ssize_t want = model_until(s->data + *pos, s->len - *pos, limit, '\n'), text = want;
	size_t len = 99;
	char *line = NULL;
	int res;

	AGAIN(res, spg_reader_line(r, &line, &len), s);
	T_EQ(res, want > 0 ? 1 : want);
	if (want == -EMSGSIZE) {
		/* Nothing was taken: one byte goes, and on. */
		T_EQ(spg_reader_discard(r, 1), 1);
		++*pos;
	}
	if (want <= 0)
		return;
	if (s->data[*pos + (size_t)want - 1] == '\n')
		text -= 1 + (want > 1 && s->data[*pos + (size_t)want - 2] == '\r');
	T_EQ(len, text);
	T_OK(memcmp(line, s->data + *pos, len) == 0);
	T_EQ(line[len], 0);
	line[0] = '?'; /* it is ours */
	*pos += (size_t)want;
}

static void expect_until(spg_reader *r, struct script *s, size_t *pos, size_t limit, char delimiter)
{
	ssize_t want = model_until(s->data + *pos, s->len - *pos, limit, delimiter), n;
	char *data = NULL;

	AGAIN(n, spg_reader_until(r, delimiter, &data), s);
	T_EQ(n, want);
	if (n > 0) {
		T_OK(memcmp(data, s->data + *pos, (size_t)n) == 0);
		*pos += (size_t)n;
	}
}

static void expect_peek(spg_reader *r, struct script *s, size_t pos, size_t limit, size_t n)
{
	size_t left = s->len - pos;
	char *data = NULL;
	ssize_t got;

	AGAIN(got, spg_reader_peek(r, n, &data), s);
	T_EQ(got, n > limit ? -EMSGSIZE : (ssize_t)(n < left ? n : left));
	if (got > 0)
		T_OK(memcmp(data, s->data + pos, (size_t)got) == 0);
}

/* Calls that may stop early: all of it comes in the end, and an error takes nothing. */
static void expect_bytes(spg_reader *r, struct script *s, size_t *pos, size_t limit, size_t n, int kind)
{
	size_t left = s->len - *pos, want = n < left ? n : left, done = 0;
	char *buf = malloc(n + 1);
	ssize_t got = 1;

	while (done < want) {
		size_t before = s->at - spg_reader_buffered(r);

		T_EQ(before, *pos + done);
		if (kind == 0)
			got = spg_reader_read(r, buf + done, n - done);
		else if (kind == 1)
			got = spg_reader_full(r, buf + done, n - done);
		else
			got = spg_reader_discard(r, n - done);
		T_OK(got > 0 || (got == s->err && got < 0));
		if (kind == 1 && got > 0 && n <= limit)
			T_EQ(got, want);
		if (kind != 2 && got > 0)
			T_OK(memcmp(buf + done, s->data + *pos + done, (size_t)got) == 0);
		if (got > 0)
			done += (size_t)got;
	}
	T_EQ(done, want);
	*pos += want;
	free(buf);
}

static void expect_end(spg_reader *r, struct script *s)
{
	ssize_t n;
	char c;

	AGAIN(n, spg_reader_read(r, &c, 1), s);
	T_EQ(n, 0);
	T_EQ(spg_reader_buffered(r), 0);
}

/* All lines of an input, cut as `cuts` says, with errors before the pieces that `errors` names. */
static void read_lines(const char *data, size_t len, uint64_t cuts, uint64_t errors, size_t size)
{
	struct script s = { .data = data, .len = len, .cuts = cuts, .errors = errors, .err = -ETIMEDOUT };
	spg_conn *c = scripted(&s);
	spg_reader *r = spg_reader_new(c, size);
	size_t pos = 0;

	T_OK(r != NULL);
	while (pos < len)
		expect_line(r, &s, &pos, size);
	expect_line(r, &s, &pos, size);
	expect_end(r, &s);
	spg_reader_free(r);
	T_EQ(spg_conn_close(c), 0);
}

/* Goal: lines of every text of up to six of a, \r, \n, at every split, an error before each piece. */
START_TEST(prop_lines_at_every_split_of_every_small_text)
{
	static const char letters[3] = { 'a', '\r', '\n' };
	char text[6];

	for (size_t len = 0; len <= sizeof(text); len++) {
		unsigned texts = 1;

		for (size_t i = 0; i < len; i++)
			texts *= 3;
		for (unsigned n = 0; n < texts; n++) {
			unsigned rest = n;

			for (size_t i = 0; i < len; i++, rest /= 3)
				text[i] = letters[rest % 3];
			for (uint64_t cuts = 0; cuts < 1u << (len > 0 ? len - 1 : 0); cuts++) {
				read_lines(text, len, cuts, 0, 1 + n % 7);
				read_lines(text, len, cuts, ~(uint64_t)0, 1 + (n + cuts) % 7);
			}
		}
	}
}
END_TEST

/* Goal: the calls that take bytes, at every split of a small input, with an error at every place. */
START_TEST(prop_bytes_at_every_split)
{
	static const char text[] = "abc,de\nfg,hi";
	size_t len = sizeof(text) - 1;

	for (uint64_t cuts = 0; cuts < 1u << (len - 1); cuts++)
		for (int kind = 0; kind < 6; kind++) {
			struct script s = { .data = text, .len = len, .cuts = cuts, .err = -ECANCELED };
			size_t size = 1 + cuts % 9, pos = 0;
			spg_conn *c = scripted(&s);
			spg_reader *r = spg_reader_new(c, size);

			if (kind >= 3)
				s.errors = ~(uint64_t)0;
			for (size_t n = 1; pos < len; n = n % 5 + 1) {
				expect_peek(r, &s, pos, size, n);
				expect_bytes(r, &s, &pos, size, n, kind % 3);
			}
			expect_end(r, &s);
			spg_reader_free(r);
			T_EQ(spg_conn_close(c), 0);
		}
}
END_TEST

static void fill_random(char *data, size_t len, uint64_t *random)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t x = t_random(random);

		data[i] = x % 37 == 0 ? '\n' : x % 41 == 0 ? '\r' : x % 3 == 0 ? ',' : (char)x;
	}
}

static void mixed_calls(uint64_t seed)
{
	uint64_t random = seed;
	size_t len = t_random(&random) % 20000, size = 1 + t_random(&random) % 300, pos = 0;
	char *data = malloc(len + 1);
	struct script s = { .data = data, .len = len, .random = seed * 7 | 1, .err = -ETIMEDOUT };
	spg_conn *c = scripted(&s);
	spg_reader *r = spg_reader_new(c, size);

	fill_random(data, len, &random);
	if (t_random(&random) & 1)
		s.err = 0;
	while (pos < len) {
		size_t n = 1 + t_random(&random) % (t_random(&random) % 8 == 0 ? 1000 : 100);

		switch (t_random(&random) % 6) {
		case 0:
			expect_line(r, &s, &pos, size);
			break;
		case 1:
			expect_until(r, &s, &pos, size, ',');
			break;
		case 2:
			expect_peek(r, &s, pos, size, n);
			break;
		default:
			expect_bytes(r, &s, &pos, size, n, (int)(n % 3));
		}
		T_EQ(s.at - spg_reader_buffered(r), pos);
	}
	expect_end(r, &s);
	spg_reader_free(r);
	T_EQ(spg_conn_close(c), 0);
	free(data);
}

static size_t rounds_wanted(void)
{
	const char *text = getenv("SPG_TEST_ROUNDS");

	if (text != NULL)
		return strtoull(text, NULL, 0);
	return t_sanitized() ? 300 : 1500;
}

/* Goal: any sequence of calls on a random stream with errors in between loses nothing, invents nothing. */
START_TEST(prop_mixed_calls_follow_the_model)
{
	uint64_t seed = t_seed();

	for (size_t i = 0; i < rounds_wanted(); i++)
		mixed_calls(seed + i * 2);
}
END_TEST

/* Goal: what a reader refuses, it says so. */
START_TEST(a_reader_says_what_is_wrong)
{
	struct script s = { .data = "0123456789", .len = 10 };
	spg_conn *c = scripted(&s);
	spg_reader *r = spg_reader_new(c, 4);
	char buf[16], *data;
	size_t len;

	T_OK(spg_reader_new(NULL, 0) == NULL);
	T_OK(spg_reader_new(c, SIZE_MAX) == NULL);
	T_ERR(spg_reader_read(NULL, buf, 1), -EINVAL);
	T_ERR(spg_reader_full(NULL, buf, 1), -EINVAL);
	T_ERR(spg_reader_line(NULL, &data, &len), -EINVAL);
	T_ERR(spg_reader_line(r, NULL, &len), -EINVAL);
	T_ERR(spg_reader_until(r, ',', NULL), -EINVAL);
	T_ERR(spg_reader_peek(r, 1, NULL), -EINVAL);
	T_ERR(spg_reader_discard(NULL, 1), -EINVAL);
	T_EQ(spg_reader_buffered(NULL), 0);
	T_EQ(spg_reader_read(r, buf, 0), 0);
	T_ERR(spg_reader_peek(r, 5, &data), -EMSGSIZE);
	T_ERR(spg_reader_line(r, &data, &len), -EMSGSIZE);
	T_ERR(spg_reader_until(r, ',', &data), -EMSGSIZE);
	/* All of it is still there. */
	T_EQ(spg_reader_full(r, buf, 16), 10);
	T_OK(memcmp(buf, s.data, 10) == 0);
	T_EQ(spg_reader_full(r, buf, 16), 0);
	spg_reader_free(r);
	spg_reader_free(NULL);
	T_EQ(spg_conn_close(c), 0);
}
END_TEST

/* Goal: an error after bytes were taken is the next call's, once. */
START_TEST(an_error_after_bytes_comes_with_the_next_call)
{
	struct script s = { .data = "0123456789", .len = 10, .cuts = 1 << 5, .errors = 1 << 6, .err = -EIO };
	spg_conn *c = scripted(&s);
	spg_reader *r = spg_reader_new(c, 4);
	char buf[16];

	T_EQ(spg_reader_full(r, buf, 10), 6);
	T_ERR(spg_reader_full(r, buf, 4), -EIO);
	T_EQ(spg_reader_full(r, buf, 4), 4);
	spg_reader_free(r);
	s.at = 0;
	s.errors = 1 << 6;
	r = spg_reader_new(c, 4);
	T_EQ(spg_reader_discard(r, 10), 6);
	T_ERR(spg_reader_read(r, buf, 4), -EIO);
	T_EQ(spg_reader_read(r, buf, 4), 4);
	spg_reader_free(r);
	T_EQ(spg_conn_close(c), 0);
}
END_TEST

/* A writer's model: what it took, in order. */
struct taken {
	char *bytes;
	size_t len;
};

static void check_written(const struct script *s, const struct taken *taken, const spg_writer *w)
{
	T_EQ(s->out_len + spg_writer_buffered(w), taken->len);
	T_OK(memcmp(s->out, taken->bytes, s->out_len) == 0);
}

static void take(struct taken *taken, const void *data, size_t n)
{
	memcpy(taken->bytes + taken->len, data, n);
	taken->len += n;
}

/* One call; what it took is in the model. */
static void write_something(spg_writer *w, struct taken *taken, uint64_t *random, int err)
{
	size_t n = t_random(random) % (t_random(random) % 8 == 0 ? 600 : 60);
	char data[700];
	ssize_t put;
	uint32_t header = htonl((uint32_t)n);

	for (size_t i = 0; i < n; i++)
		data[i] = (char)('a' + t_random(random) % 26);
	data[n] = '\0';
	switch (t_random(random) % 4) {
	case 0:
		put = spg_writer_printf(w, "%s.%zu", data, n);
		n += (size_t)snprintf(data + n, sizeof(data) - n, ".%zu", n);
		T_OK(put == (ssize_t)n || (err < 0 && (put == err || (put > 0 && put < (ssize_t)n))));
		break;
	case 1:
		put = spg_frame_write(w, data, n);
		T_OK(put == 0 || (put == err && err < 0));
		if (put == 0) {
			take(taken, &header, 4);
			take(taken, data, n);
		}
		return;
	case 2:
		put = spg_writer_flush(w);
		T_OK(put == 0 || (put == err && err < 0));
		if (put == 0)
			T_EQ(spg_writer_buffered(w), 0);
		return;
	default:
		put = spg_writer_write(w, data, n);
		T_OK((put >= 0 && (size_t)put <= n) || (put == err && err < 0));
		if (err == 0)
			T_EQ(put, n);
	}
	if (put > 0)
		take(taken, data, (size_t)put);
}

static void mixed_writes(uint64_t seed)
{
	uint64_t random = seed;
	size_t max = (size_t)256 << 10;
	struct script s = { .random = seed * 5 | 1, .err = -ETIMEDOUT, .out = malloc(max), .out_max = max };
	struct taken taken = { .bytes = malloc(max) };
	spg_conn *c = scripted(&s);
	spg_writer *w = spg_writer_new(c, 1 + t_random(&random) % 200);
	int err;

	if (t_random(&random) % 3 == 0)
		s.err = 0;
	for (int i = 0; i < 200; i++) {
		write_something(w, &taken, &random, s.err);
		check_written(&s, &taken, w);
	}
	AGAIN(err, spg_writer_flush(w), &s);
	T_EQ(err, 0);
	T_EQ(s.out_len, taken.len);
	check_written(&s, &taken, w);
	spg_writer_free(w);
	T_EQ(spg_conn_close(c), 0);
	free(s.out);
	free(taken.bytes);
}

/* Goal: what a writer took comes out, in order, once, whatever the stream's pieces and pauses. */
START_TEST(prop_mixed_writes_follow_the_model)
{
	uint64_t seed = t_seed();

	for (size_t i = 0; i < rounds_wanted(); i++)
		mixed_writes(seed + i * 2);
}
END_TEST

/* Goal: the same at every split of a small output, with a pause at every place. */
START_TEST(prop_writes_at_every_split)
{
	for (uint64_t cuts = 0; cuts < 1u << 11; cuts++)
		for (size_t size = 1; size <= 13; size += 3) {
			struct script s = { .cuts = cuts, .err = -ECANCELED, .out_max = 64 };
			char out[64], text[8] = "abcde";
			struct taken taken = { .bytes = (char[64]){ 0 } };
			spg_conn *c = scripted(&s);
			spg_writer *w = spg_writer_new(c, size);
			int err;

			s.out = out;
			s.errors = size == 4 ? 0 : ~(uint64_t)0;
			for (size_t done = 0; done < 5;) {
				ssize_t n = spg_writer_write(w, text + done, 5 - done);

				T_OK(n > 0 || n == -ECANCELED);
				if (n > 0) {
					take(&taken, text + done, (size_t)n);
					done += (size_t)n;
				}
				check_written(&s, &taken, w);
			}
			AGAIN(err, spg_frame_write(w, "xyz", 3), &s);
			T_EQ(err, 0);
			take(&taken, "\0\0\0\3xyz", 7);
			check_written(&s, &taken, w);
			AGAIN(err, spg_writer_flush(w), &s);
			T_EQ(s.out_len, 12);
			check_written(&s, &taken, w);
			spg_writer_free(w);
			T_EQ(spg_conn_close(c), 0);
		}
}
END_TEST

/* Goal: an error other than a pause stays, wherever it comes, and nothing more is written. */
START_TEST(a_writers_error_stays)
{
	static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

	for (size_t max = 0; max < 36; max++) {
		char out[64];
		struct script s = { .out = out, .out_max = max, .full_err = -EPIPE };
		spg_conn *c = scripted(&s);
		spg_writer *w = spg_writer_new(c, 8);
		size_t done = 0;
		ssize_t n = 0;

		while (n >= 0) {
			size_t want = sizeof(text) - 1 - done < 7 ? sizeof(text) - 1 - done : 7;

			n = want > 0 ? spg_writer_write(w, text + done, want) : spg_writer_flush(w);
			T_OK(want > 0 || n < 0);
			done += n > 0 ? (size_t)n : 0;
		}
		T_ERR(n, -EPIPE);
		T_EQ(s.out_len, max);
		T_OK(memcmp(out, text, max) == 0);
		s.out_max = sizeof(out); /* there is room again: it does not matter */
		T_ERR(spg_writer_write(w, "x", 1), -EPIPE);
		T_ERR(spg_writer_write(w, "x", 0), -EPIPE);
		T_ERR(spg_writer_printf(w, "x"), -EPIPE);
		T_ERR(spg_frame_write(w, "x", 1), -EPIPE);
		T_ERR(spg_writer_flush(w), -EPIPE);
		T_EQ(s.out_len, max);
		spg_writer_free(w);
		T_EQ(spg_conn_close(c), 0);
	}
}
END_TEST

/* Goal: text of any length; and what a writer refuses, it says so. */
START_TEST(a_writer_prints_text_of_any_length)
{
	size_t max = (size_t)4 << 20, at = 0;
	struct script s = { .out = malloc(max), .out_max = max, .full_err = -EPIPE };
	char *expected = malloc(max);
	spg_conn *c = scripted(&s);
	spg_writer *w = spg_writer_new(c, 100);
	static const wchar_t no_text[2] = { 0xd800, 0 };
	const char *volatile too_wide = "%99999999999d";

	s.random = 1;
	T_OK(spg_writer_new(NULL, 0) == NULL);
	T_OK(spg_writer_new(c, SIZE_MAX) == NULL);
	T_ERR(spg_writer_write(NULL, "", 0), -EINVAL);
	T_ERR(spg_writer_flush(NULL), -EINVAL);
	T_ERR(spg_writer_printf(NULL, "x"), -EINVAL);
	T_ERR(spg_writer_printf(w, NULL), -EINVAL);
	T_EQ(spg_writer_buffered(NULL), 0);
	T_ERR(spg_writer_printf(w, "%ls", no_text), -EILSEQ);
	T_ERR(spg_writer_printf(w, too_wide, 1), -EOVERFLOW);
	for (int width = 0; width < 1500000; width = width * 2 + 1) {
		T_EQ(spg_writer_printf(w, "%0*d", width, 7), width > 1 ? width : 1);
		at += (size_t)sprintf(expected + at, "%0*d", width, 7);
	}
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_ERR(spg_writer_printf(w, "%0*d", 101, 7), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(spg_writer_printf(w, "%0*d", 99, 7), 99); /* that error does not stay */
	at += (size_t)sprintf(expected + at, "%0*d", 99, 7);
	T_EQ(spg_writer_flush(w), 0);
	T_EQ(s.out_len, at);
	T_OK(memcmp(s.out, expected, at) == 0);
	spg_writer_free(w);
	spg_writer_free(NULL);
	T_EQ(spg_conn_close(c), 0);
	free(s.out);
	free(expected);
}
END_TEST

static size_t put_frame(char *out, const void *data, size_t len)
{
	uint32_t header = htonl((uint32_t)len);

	memcpy(out, &header, 4);
	memcpy(out + 4, data, len);
	return len + 4;
}

/* Goal: frames at every split, with an error before every piece, in a buffer of any size. */
START_TEST(prop_frames_at_every_split)
{
	char stream[15];
	size_t len = put_frame(stream, "abc", 3);

	len += put_frame(stream + len, "", 0);
	len += put_frame(stream + len, "", 0);
	T_EQ(len, sizeof(stream));
	for (uint64_t cuts = 0; cuts < 1u << (len - 1); cuts++) {
		struct script s = { .data = stream, .len = len, .cuts = cuts, .err = -ETIMEDOUT };
		spg_conn *c = scripted(&s);
		spg_reader *r = spg_reader_new(c, 1 + cuts % 9);
		void *data;
		size_t n;
		int res;

		s.errors = cuts & 1 ? ~(uint64_t)0 : 0;
		for (int i = 0; i < 3; i++) {
			AGAIN(res, spg_frame_read(r, 3, &data, &n), &s);
			T_EQ(res, 1);
			T_EQ(n, i == 0 ? 3 : 0);
			T_OK(memcmp(data, "abc", n) == 0);
		}
		AGAIN(res, spg_frame_read(r, 3, &data, &n), &s);
		T_EQ(res, 0);
		spg_reader_free(r);
		T_EQ(spg_conn_close(c), 0);
	}
}
END_TEST

/* Goal: a stream that ends within a frame is an error at every place, and what came is still there. */
START_TEST(a_frame_cut_short_is_an_error)
{
	char stream[64], got[64];
	size_t len = put_frame(stream, "0123456789", 10);

	for (size_t size = 1; size < 32; size += 5)
		for (size_t end = 0; end < len; end++) {
			struct script s = { .data = stream, .len = end };
			spg_conn *c = scripted(&s);
			spg_reader *r = spg_reader_new(c, size);
			void *data;
			size_t n;

			T_ERR(spg_frame_read(r, 100, &data, &n), end == 0 ? 0 : -EBADMSG);
			T_ERR(spg_frame_read(r, 100, &data, &n), end == 0 ? 0 : -EBADMSG);
			T_EQ(spg_reader_full(r, got, 64), end);
			T_OK(memcmp(got, stream, end) == 0);
			spg_reader_free(r);
			T_EQ(spg_conn_close(c), 0);
		}
}
END_TEST

/* Goal: a frame over the limit is refused and can be skipped, or taken with a larger limit. */
START_TEST(a_frame_over_the_limit_is_refused)
{
	char stream[64];
	size_t len = put_frame(stream, "0123456789", 10);
	struct script s = { .data = stream };
	spg_conn *c = scripted(&s);
	spg_reader *r = spg_reader_new(c, 0);
	spg_writer *w = spg_writer_new(c, 0);
	void *data;
	size_t n = 0;

	len += put_frame(stream + len, "abc", 3);
	s.len = len;
	T_ERR(spg_frame_read(r, 9, &data, &n), -EMSGSIZE);
	T_EQ(n, 10);
	T_EQ(spg_frame_read(r, 10, &data, &n), 1);
	T_OK(n == 10 && memcmp(data, "0123456789", 10) == 0);
	T_ERR(spg_frame_read(r, 2, &data, &n), -EMSGSIZE);
	T_EQ(spg_reader_discard(r, n + 4), 7);
	T_EQ(spg_frame_read(r, 2, &data, &n), 0);
	T_ERR(spg_frame_read(NULL, 2, &data, &n), -EINVAL);
	T_ERR(spg_frame_read(r, 2, NULL, &n), -EINVAL);
	T_ERR(spg_frame_read(r, 2, &data, NULL), -EINVAL);
	T_ERR(spg_frame_write(NULL, "", 0), -EINVAL);
	T_ERR(spg_frame_write(w, NULL, 1), -EINVAL);
	T_ERR(spg_frame_write(w, "", (size_t)UINT32_MAX + 1), -EMSGSIZE);
	T_EQ(spg_writer_buffered(w), 0);
	T_EQ(spg_frame_write(w, NULL, 0), 0);
	T_EQ(spg_writer_buffered(w), 4);
	spg_writer_free(w);
	spg_reader_free(r);
	T_EQ(spg_conn_close(c), 0);
}
END_TEST

/* Goal: a header that promises much takes no memory before bytes come; without memory nothing is lost. */
START_TEST(a_large_frame_grows_the_buffer_as_it_comes)
{
	size_t len = (size_t)1 << 20, n = 0;
	char *stream = malloc(len + 4), *frame = malloc(len);
	struct script s = { .data = stream, .random = 9, .len = len + 4 };
	spg_conn *c = scripted(&s);
	spg_reader *r = spg_reader_new(c, 512);
	void *data;

	for (size_t i = 0; i < len; i++)
		frame[i] = (char)(i * 7 >> 3);
	put_frame(stream, frame, len);
	/* Each allocation refused in turn: the next call goes on. */
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_ERR(spg_frame_read(r, len, &data, &n), -ENOMEM);
	T_OK(s.at <= 512);
	spg__fault_arm(SPG__FAULT_ALLOC, 3, 1, -ENOMEM);
	T_ERR(spg_frame_read(r, len, &data, &n), -ENOMEM);
	T_OK(s.at <= 2048);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(spg_frame_read(r, len, &data, &n), 1);
	T_OK(n == len && memcmp(data, frame, len) == 0);
	T_EQ(spg_frame_read(r, len, &data, &n), 0);
	/* It is small again: a line has its limit back. */
	s.at = 0;
	memset(stream, 'x', len);
	T_ERR(spg_reader_line(r, (char **)&data, NULL), -EMSGSIZE);
	T_EQ(spg_reader_buffered(r), 512);
	spg_reader_free(r);
	T_EQ(spg_conn_close(c), 0);
	free(stream);
	free(frame);
}
END_TEST

/* Goal: a frame that is cut short by a deadline is kept; without memory for it the stream is broken. */
START_TEST(a_frame_written_in_part_is_kept_or_the_stream_is_broken)
{
	char out[128], frame[50], expected[128];
	struct script s = { .out = out, .out_max = 10, .full_err = -ETIMEDOUT };
	spg_conn *c = scripted(&s);
	spg_writer *w = spg_writer_new(c, 4);

	memset(frame, 'f', sizeof(frame));
	put_frame(expected, frame, sizeof(frame));
	T_EQ(spg_frame_write(w, frame, sizeof(frame)), 0);
	T_EQ(s.out_len, 10);
	T_EQ(spg_writer_buffered(w), 44);
	T_ERR(spg_writer_flush(w), -ETIMEDOUT);
	s.out_max = sizeof(out);
	T_EQ(spg_writer_flush(w), 0);
	T_OK(s.out_len == 54 && memcmp(out, expected, 54) == 0);
	s.out_len = 0;
	s.out_max = 10;
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_ERR(spg_frame_write(w, frame, sizeof(frame)), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	s.out_max = sizeof(out);
	T_ERR(spg_writer_flush(w), -ENOMEM);
	T_EQ(s.out_len, 10);
	spg_writer_free(w);
	T_EQ(spg_conn_close(c), 0);
}
END_TEST

/* Goal: constructors without memory return NULL and leave nothing, each allocation in turn. */
START_TEST(fault_buffers_without_memory)
{
	struct script s = { .data = "" };
	spg_conn *c = scripted(&s);

	for (int64_t nth = 1; nth <= 2; nth++) {
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		T_OK(spg_reader_new(c, 0) == NULL);
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		T_OK(spg_writer_new(c, 0) == NULL);
	}
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(spg_conn_close(c), 0);
}
END_TEST

/* Goal: copies at every split and every early end: what is not delivered is read again, in order. */
START_TEST(prop_a_copy_loses_nothing_at_any_early_end)
{
	static const char text[] = "0123456789";

	for (uint64_t cuts = 0; cuts < 1u << 9; cuts++)
		for (size_t max = 0; max <= 10; max++)
			for (ssize_t n = -1; n <= 10; n += 3) {
				char out[16], rest[16];
				struct script from = { .data = text, .len = 10, .cuts = cuts };
				struct script to = { .out = out, .out_max = max, .full_err = -EPIPE, .cuts = ~cuts };
				spg_conn *src = scripted(&from), *dst = scripted(&to);
				size_t want = n < 0 || n > 10 ? 10 : (size_t)n, moved = want < max ? want : max, got = 0;
				ssize_t res = spg_conn_copy(dst, src, n);

				T_EQ(res, moved == 0 && want > 0 ? -EPIPE : (ssize_t)moved);
				T_OK(to.out_len == moved && memcmp(out, text, moved) == 0);
				if (moved < want)
					T_ERR(spg_conn_copy(dst, src, 2), -EPIPE);
				if (cuts % 2 == 0 && moved < want) { /* in part by another copy */
					to.out_max++;
					T_EQ(spg_conn_copy(dst, src, -1), 1);
					T_EQ(out[moved], text[moved]);
					moved++;
				}
				while ((res = spg_conn_read(src, rest + got, 1 + cuts % 3)) > 0)
					got += (size_t)res;
				T_EQ(res, 0);
				T_EQ(moved + got, 10);
				T_OK(memcmp(rest, text + moved, got) == 0);
				T_EQ(spg_conn_close(src), 0);
				T_EQ(spg_conn_close(dst), 0);
			}
}
END_TEST

T_MAIN(T_TEST(prop_lines_at_every_split_of_every_small_text), T_TEST(prop_bytes_at_every_split),
       T_TEST(prop_mixed_calls_follow_the_model), T_TEST(a_reader_says_what_is_wrong),
       T_TEST(an_error_after_bytes_comes_with_the_next_call), T_TEST(prop_mixed_writes_follow_the_model),
       T_TEST(prop_writes_at_every_split), T_TEST(a_writers_error_stays),
       T_TEST(a_writer_prints_text_of_any_length), T_TEST(prop_frames_at_every_split),
       T_TEST(a_frame_cut_short_is_an_error), T_TEST(a_frame_over_the_limit_is_refused),
       T_TEST(a_large_frame_grows_the_buffer_as_it_comes),
       T_TEST(a_frame_written_in_part_is_kept_or_the_stream_is_broken), T_TEST(fault_buffers_without_memory),
       T_TEST(prop_a_copy_loses_nothing_at_any_early_end))
