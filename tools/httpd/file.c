#include "tools/httpd/file.h"

#include "tools/httpd/calls.h"
#include "tools/httpd/mime.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LANES_MAX 64
#define WAYS 4
#define CACHELINE_BYTES 64

/* One for each CPU, so that they seldom meet; any may be used from anywhere. */
struct lane {
	_Alignas(CACHELINE_BYTES) pthread_mutex_t lock;
	struct file **table; /* sets_count sets of WAYS */
};

static struct {
	int root_fd;
	int64_t fresh_ns;
	unsigned lanes_count;
	size_t sets_count; /* a power of two; 0: nothing is kept */
	struct lane lanes[LANES_MAX];
} files;

int files_init(int root_fd, unsigned count_max, int64_t fresh_ns)
{
	cpu_set_t cpus;
	unsigned lanes = 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		lanes = (unsigned)CPU_COUNT(&cpus);
	files.root_fd = root_fd;
	files.fresh_ns = fresh_ns;
	files.lanes_count = lanes < LANES_MAX ? lanes : LANES_MAX;
	files.sets_count = 0;
	if (count_max == 0 || fresh_ns == 0)
		return 0;
	files.sets_count = 1;
	while (files.sets_count * 2 * WAYS * files.lanes_count <= count_max)
		files.sets_count *= 2;
	for (unsigned i = 0; i < files.lanes_count; i++) {
		pthread_mutex_init(&files.lanes[i].lock, NULL);
		files.lanes[i].table = calloc(files.sets_count * WAYS, sizeof(struct file *));
		if (files.lanes[i].table == NULL)
			return -ENOMEM;
	}
	return 0;
}

void files_fini(void)
{
	for (unsigned i = 0; i < files.lanes_count && files.sets_count > 0; i++) {
		struct lane *lane = &files.lanes[i];

		for (size_t at = 0; lane->table != NULL && at < files.sets_count * WAYS; at++)
			if (lane->table[at] != NULL)
				file_put(lane->table[at]);
		free(lane->table);
		lane->table = NULL;
	}
}

/* FNV-1a, folded. */
static uint64_t hash_path(const char *path, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)path[i]) * 0x100000001b3u;
	return hash ^ hash >> 32;
}

static struct lane *lane_here(void)
{
	int cpu = sched_getcpu();

	return &files.lanes[cpu < 0 ? 0 : (unsigned)cpu % files.lanes_count];
}

static struct file **set_of(struct lane *lane, uint64_t hash)
{
	return &lane->table[(hash & (files.sets_count - 1)) * WAYS];
}

static bool is_same(const struct file *file, uint64_t hash, const char *path, size_t len)
{
	return file != NULL && file->hash == hash && file->path_len == len && memcmp(file->path, path, len) == 0;
}

/*
 * A kept one that is still fresh, with a reference more. One that is not is let go: its path
 * may name nothing any more, and what was removed must not stay on the disk for us.
 */
static struct file *lookup(uint64_t hash, const char *path, size_t len, int64_t now_ns)
{
	struct lane *lane = lane_here();
	struct file **set, *found = NULL, *old = NULL;

	pthread_mutex_lock(&lane->lock);
	set = set_of(lane, hash);
	for (unsigned i = 0; i < WAYS && found == NULL && old == NULL; i++) {
		if (!is_same(set[i], hash, path, len))
			continue;
		if (now_ns - set[i]->opened_ns < files.fresh_ns) {
			found = set[i];
			/* relaxed: the table's reference keeps it meanwhile (F1). */
			atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed);
		} else {
			old = set[i];
			set[i] = NULL;
		}
	}
	pthread_mutex_unlock(&lane->lock);
	if (old != NULL)
		file_put(old);
	return found;
}

/* In the place of an older one of that path, an empty place, or the oldest's. */
static void keep(struct file *file)
{
	struct lane *lane = lane_here();
	struct file **set, **place, *old;

	pthread_mutex_lock(&lane->lock);
	set = set_of(lane, file->hash);
	place = &set[0];
	for (unsigned i = 0; i < WAYS; i++) {
		if (is_same(set[i], file->hash, file->path, file->path_len)) {
			place = &set[i];
			break;
		}
		if (*place != NULL && (set[i] == NULL || set[i]->opened_ns < (*place)->opened_ns))
			place = &set[i];
	}
	old = *place;
	*place = file;
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed); /* not seen by others yet */
	pthread_mutex_unlock(&lane->lock);
	if (old != NULL)
		file_put(old);
}

static char *append(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

#define APPEND(out, literal) append(out, literal, sizeof(literal) - 1)

/* When it changed last, to the nanosecond, and its size. */
static void write_etag(struct file *file, const struct stat *st)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t parts[2] = { (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
			      (uint64_t)st->st_size };
	char *out = file->etag;

	*out++ = '"';
	for (int i = 0; i < 2; i++) {
		int shift = 60;

		while (shift > 0 && parts[i] >> shift == 0)
			shift -= 4;
		for (; shift >= 0; shift -= 4)
			*out++ = digits[parts[i] >> shift & 15];
		*out++ = i == 0 ? '-' : '"';
	}
	file->etag_len = (uint16_t)(out - file->etag);
}

static void write_head(struct file *file, const struct stat *st)
{
	const char *type = mime_type(file->path);
	char *out = file->head;

	write_etag(file, st);
	out = APPEND(out, "ETag: ");
	out = append(out, file->etag, file->etag_len);
	out = APPEND(out, "\r\nLast-Modified: ");
	date_write(file->modified, out);
	out = APPEND(out + DATE_LEN, "\r\n");
	file->validators_len = (uint16_t)(out - file->head);
	out = APPEND(out, "Content-Type: ");
	out = append(out, type, strlen(type)); /* of our own table: it fits */
	out = APPEND(out, "\r\nAccept-Ranges: bytes\r\n");
	file->head_len = (uint16_t)(out - file->head);
}

static int describe(struct file *file)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	file->folder = S_ISDIR(st.st_mode);
	if (!file->folder && !S_ISREG(st.st_mode))
		return -EACCES;
	file->size_bytes = (uint64_t)st.st_size;
	file->modified = st.st_mtim.tv_sec;
	write_head(file, &st);
	return 0;
}

static int open_new(uint64_t hash, const char *path, size_t len, int64_t now_ns, struct file **out)
{
	struct file *file = malloc(sizeof(*file) + len + 1);
	int err;

	if (file == NULL)
		return -ENOMEM;
	memset(file, 0, sizeof(*file));
	file->refs = 1;
	file->hash = hash;
	file->opened_ns = now_ns; /* before the open: never fresher than it is */
	file->path_len = (uint16_t)len;
	memcpy(file->path, path, len + 1);
	file->fd = call_open(files.root_fd, len > 0 ? path : ".");
	err = file->fd < 0 ? file->fd : describe(file);
	if (err < 0) {
		if (file->fd >= 0)
			call_close(file->fd);
		free(file);
		return err;
	}
	*out = file;
	return 0;
}

int file_get(const char *path, size_t len, int64_t now_ns, struct file **out)
{
	uint64_t hash = hash_path(path, len);
	int err;

	*out = files.sets_count > 0 ? lookup(hash, path, len, now_ns) : NULL;
	if (*out != NULL)
		return 0;
	err = open_new(hash, path, len, now_ns, out);
	if (err == 0 && files.sets_count > 0)
		keep(*out);
	return err;
}

void file_put(struct file *file)
{
	/* acq_rel: the last one sees all others done with it. */
	if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) > 1)
		return;
	call_close(file->fd);
	free(file);
}

void file_forget(struct file *file)
{
	bool found = false;

	for (unsigned i = 0; i < files.lanes_count && files.sets_count > 0; i++) {
		struct file **set;

		pthread_mutex_lock(&files.lanes[i].lock);
		set = set_of(&files.lanes[i], file->hash);
		for (unsigned way = 0; way < WAYS; way++) {
			if (set[way] != file)
				continue;
			set[way] = NULL;
			found = true;
		}
		pthread_mutex_unlock(&files.lanes[i].lock);
	}
	if (found)
		file_put(file);
}
