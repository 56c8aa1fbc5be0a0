/*
 * spg_du, beside coreutils' du on trees of every kind.
 */
#include "test/tree.h"

#include "coro/fault.h"

#include <inttypes.h>
#include <sched.h>
#include <sys/mount.h>

/* What du(1) says, in bytes. */
static uint64_t coreutils(const char *options, const char *path)
{
	char command[TREE_PATH_MAX];
	uint64_t bytes = 0;
	FILE *out;

	snprintf(command, sizeof(command), "exec env -u DU_BLOCK_SIZE -u POSIXLY_CORRECT du -s %s '%s' 2>/dev/null",
		 options, path);
	out = popen(command, "re");
	T_OK(out != NULL);
	T_EQ(fscanf(out, "%" SCNu64, &bytes), 1);
	pclose(out);
	return bytes;
}

/* Since coreutils 9.2 directories have no apparent size. */
static bool du_counts_directories(const struct tree *t)
{
	bool counts;

	tree_dir(t, "probe");
	counts = coreutils("-b", tree_path(t, "probe")) > 0;
	T_EQ(unlinkat(t->fd, "probe", AT_REMOVEDIR), 0);
	return counts;
}

static spg_du_result count(const char *path, const spg_du_opts *o)
{
	spg_du_result r;

	T_EQ(spg_du(path, o, &r), 0);
	T_EQ(r.total_entries, r.files + r.directories + r.symlinks + r.others);
	return r;
}

/*
 * Every policy for which du has an option. What else it is given says what du is able to:
 * sum the lengths of directories, and follow symlinks (not where paths are too long).
 */
static void check_against_du(const char *path, bool apparent, bool follow)
{
	static const struct {
		const char *options;
		bool apparent, follow, each_link, one_file_system;
	} cases[] = {
		{ "-B1", false, false, false, false },	{ "-b", true, false, false, false },
		{ "-B1 -l", false, false, true, false }, { "-b -l", true, false, true, false },
		{ "-B1 -x", false, false, false, true }, { "-b -x", true, false, false, true },
		{ "-B1 -L", false, true, false, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		spg_du_opts o = SPG_DU_OPTS_INIT;
		uint64_t expected;
		spg_du_result r;

		if ((cases[i].apparent && !apparent) || (cases[i].follow && !follow))
			continue;
		o.errors = SPG_DU_SKIP;
		o.size = cases[i].apparent ? SPG_DU_APPARENT : SPG_DU_ALLOCATED;
		o.symlinks = cases[i].follow ? SPG_DU_FOLLOW : SPG_DU_NO_FOLLOW;
		o.hardlink_dedupe = !cases[i].each_link;
		o.one_file_system = cases[i].one_file_system;
		expected = coreutils(cases[i].options, path);
		r = count(path, &o);
		if (r.total_bytes != expected)
			t_fail(__FILE__, __LINE__, "du %s %s: %" PRIu64 ", expected %" PRIu64, cases[i].options, path,
			       r.total_bytes, expected);
	}
}

/* Sparse and full files, links of all kinds, special files, odd names. */
static void make_corpus(const struct tree *t)
{
	T_EQ(tree_run("cd '%s' && mkdir -p c/a/b c/d/e/f c/g c/empty &&"
		      "truncate -s 16777217 c/a/sparse && head -c 300000 /dev/zero > c/a/full &&"
		      "head -c 5000 /dev/urandom > c/a/b/data && dd if=/dev/urandom of=c/a/b/holes bs=4k seek=100 count=2 2>&1 &&"
		      "for i in 1 2 3 4 5 6 7 8; do ln c/a/full c/d/link$i; ln c/a/b/data c/d/e/f/data$i; done &&"
		      "ln -s ../a c/g/to-a && ln -s . c/g/self && ln -s .. c/g/up && ln -s nowhere c/g/broken &&"
		      "ln -s loop1 c/g/loop2 && ln -s loop2 c/g/loop1 && ln -s ../a/full c/g/to-full &&"
		      "ln -s $(printf 'x%%.0s' $(seq 200)) c/g/long && mkfifo c/g/fifo &&"
		      "touch 'c/a name with spaces' \"c/$(printf 'new\\nline')\" c/.hidden c/-rf",
		      t->root), 0);
}

static void make_wide(const struct tree *t, unsigned dirs, unsigned files)
{
	char name[64];

	tree_dir(t, "w");
	for (unsigned i = 0; i < dirs; i++) {
		snprintf(name, sizeof(name), "w/%u", i);
		tree_dir(t, name);
		for (unsigned k = 0; k < files; k++) {
			snprintf(name, sizeof(name), "w/%u/%u", i, k);
			tree_file(t, name, (i * 31 + k * 997) % 20000);
		}
	}
}

static int differential(struct tree *t)
{
	bool apparent = du_counts_directories(t);

	make_corpus(t);
	make_wide(t, 30, 8);
	tree_deep(t, "deep", 150);
	check_against_du(tree_path(t, "c"), apparent, true);
	check_against_du(tree_path(t, "c/"), apparent, true);
	check_against_du(tree_path(t, "w"), apparent, true);
	check_against_du(tree_path(t, "deep"), apparent, false);
	check_against_du(t->root, apparent, false);
	check_against_du(tree_path(t, "c/a/full"), apparent, true);
	check_against_du(tree_path(t, "c/g/to-a"), apparent, true);
	check_against_du(tree_path(t, "c/g/to-a/"), apparent, true);
	check_against_du(tree_path(t, "c/g/fifo"), apparent, true);
	return 0;
}

/* Goal: the same bytes as du, by every policy, on every kind of tree. */
START_TEST(du_agrees_with_coreutils)
{
	with_tree(_i, differential);
}
END_TEST

START_TEST(a_foreign_thread_agrees_with_coreutils)
{
	with_tree(0, differential);
}
END_TEST

/* A tree of random shape: files, holes, links, symlinks to anywhere in it. */
static void make_random(const struct tree *t, uint64_t *random)
{
	char names[60][96], target[128];
	unsigned dirs = 1;

	snprintf(names[0], sizeof(names[0]), "r");
	tree_dir(t, "r");
	for (int i = 0; i < 300; i++) {
		const char *dir = names[t_random(random) % dirs];
		char name[96];

		/* Only short ways are gone on with. */
		snprintf(name, sizeof(name), "%.70s/%d", dir, i);
		switch (t_random(random) % 6) {
		case 0:
			if (dirs < 60 && strlen(name) < 60) {
				strcpy(names[dirs++], name);
				tree_dir(t, name);
				break;
			}
			/* fall through */
		case 1:
		case 2:
			tree_file(t, name, t_random(random) % 30000);
			break;
		case 3:
			tree_file(t, name, 0);
			T_EQ(truncate(tree_path(t, name), (off_t)(t_random(random) % 1000000)), 0);
			break;
		case 4:
			snprintf(target, sizeof(target), "%.70s/%d-source", dir, i);
			tree_file(t, target, t_random(random) % 9000);
			T_EQ(linkat(t->fd, target, t->fd, name, 0), 0);
			break;
		default:
			snprintf(target, sizeof(target), "%s/%.60s", t->root, names[t_random(random) % dirs]);
			tree_link(t, target, name);
		}
	}
}

static int random_trees(struct tree *t)
{
	bool apparent = du_counts_directories(t);
	uint64_t random = t_seed();
	int rounds = t_sanitized() ? 1 : 2;

	for (int i = 0; i < rounds; i++) {
		make_random(t, &random);
		check_against_du(tree_path(t, "r"), apparent, true);
		T_EQ(tree_run("rm -rf '%s/r'", t->root), 0);
	}
	return 0;
}

START_TEST(prop_random_trees_agree_with_coreutils)
{
	with_tree(_i, random_trees);
}
END_TEST

static int counters(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_du_result r;

	T_EQ(tree_run("cd '%s' && mkdir -p t/a/b && echo x > t/f && ln t/f t/a/g && ln t/f t/a/b/h && ln -s f t/l &&"
		      "ln -s ../a t/a/up && mkfifo t/p", t->root), 0);
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.directories, 3);
	T_EQ(r.files, 1);
	T_EQ(r.symlinks, 2);
	T_EQ(r.others, 1);
	T_EQ(r.skipped_links, 2);
	T_EQ(r.skipped_errors + r.skipped_cross_device, 0);
	o.hardlink_dedupe = false;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.files, 3);
	T_EQ(r.skipped_links, 0);
	o.symlinks = SPG_DU_FOLLOW;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.directories, 3); /* the loop is seen, whoever counts links */
	T_EQ(r.files, 4);
	T_EQ(r.symlinks, 0);
	T_EQ(r.skipped_links, 1);
	return 0;
}

START_TEST(du_counts_by_kind)
{
	with_tree(_i, counters);
}
END_TEST

/* What the callback for skipped entries has got. */
struct skips {
	int n, err;
	char path[TREE_PATH_MAX];
	uint64_t id;
};

static void skipped(const char *path, int err, void *arg)
{
	struct skips *s = arg;

	T_EQ(spg_id(), s->id); /* the caller's own coroutine */
	s->n++;
	s->err = err;
	snprintf(s->path, sizeof(s->path), "%s", path);
}

static int errors(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	struct skips s = { .id = spg_id() };
	spg_du_result r;

	T_EQ(tree_run("cd '%s' && mkdir -p t/a && echo x > t/f && ln -s nowhere t/a/broken", t->root), 0);
	T_ERR(spg_du(NULL, &o, &r), -EINVAL);
	T_ERR(spg_du("", &o, &r), -EINVAL);
	T_ERR(spg_du(t->root, &o, NULL), -EINVAL);
	o.size = (spg_du_size)7;
	T_ERR(spg_du(t->root, &o, &r), -EINVAL);
	o = (spg_du_opts)SPG_DU_OPTS_INIT;
	T_ERR(spg_du(tree_path(t, "none"), &o, &r), -ENOENT);
	o.errors = SPG_DU_SKIP;
	T_ERR(spg_du(tree_path(t, "none"), &o, &r), -ENOENT);
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.skipped_errors, 0);
	T_EQ(r.symlinks, 1);

	o.symlinks = SPG_DU_FOLLOW;
	o.skipped = skipped;
	o.arg = &s;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.skipped_errors, 1);
	T_EQ(r.total_entries, 3);
	T_EQ(s.n, 1);
	T_EQ(s.err, -ENOENT);
	T_STR(s.path, tree_path(t, "t/a/broken"));
	o.errors = SPG_DU_FAIL_FAST;
	T_ERR(spg_du(tree_path(t, "t"), &o, &r), -ENOENT);
	T_EQ(s.n, 1);
	return 0;
}

/* Goal: each policy for errors does what it says, and the callback names the entry. */
START_TEST(du_skips_or_fails_on_errors)
{
	with_tree(_i, errors);
}
END_TEST

static int far_error(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	struct skips s = { .id = spg_id() };
	spg_du_result r;
	const char *end;

	tree_deep(t, "deep", 60);
	T_EQ(tree_run("cd '%s/deep' && for i in $(seq 60); do cd a-directory-with-a-name-of-some-length; done;"
		      "ln -s nowhere broken", t->root), 0);
	o.symlinks = SPG_DU_FOLLOW;
	o.errors = SPG_DU_SKIP;
	o.skipped = skipped;
	o.arg = &s;
	r = count(tree_path(t, "deep"), &o);
	T_EQ(r.skipped_errors, 1);
	T_EQ(r.directories, 121);
	/* The whole way, over the places where a new descriptor was needed. */
	T_EQ(strlen(s.path), strlen(t->root) + strlen("/deep") + 60 * strlen("/a-directory-with-a-name-of-some-length") +
				     strlen("/broken"));
	T_EQ(memcmp(s.path, tree_path(t, "deep/a-dir"), strlen(t->root) + 11), 0);
	end = strrchr(s.path, '/');
	T_STR(end, "/broken");
	T_OK(strstr(s.path, "//") == NULL);
	return 0;
}

START_TEST(far_errors_are_named_by_their_whole_path)
{
	with_tree(_i, far_error);
}
END_TEST

static int few_descriptors(struct tree *t)
{
	spg_du_result r;

	tree_deep(t, "deep", 150);
	limit_fds(30);
	r = count(tree_path(t, "deep"), NULL);
	T_EQ(r.directories, 301);
	T_EQ(r.files, 150);
	return 0;
}

/* Goal: a descriptor for each worker and each 2 KiB of path, not for each level. */
START_TEST(depth_costs_few_descriptors)
{
	with_tree(_i, few_descriptors);
}
END_TEST

static int barrier(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_du_result r;

	T_EQ(tree_run("cd '%s' && mkdir -p t/no t/noexec && touch t/no/x t/noexec/y && chmod 000 t/no && chmod 444 t/noexec",
		      t->root), 0);
	T_ERR(spg_du(tree_path(t, "t"), &o, &r), -EACCES);
	o.errors = SPG_DU_SKIP;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.skipped_errors, 2); /* one cannot be read, the other's entry not be looked at */
	T_EQ(r.directories, 3);
	check_against_du(tree_path(t, "t"), false, true);
	T_ERR(spg_remove_all(tree_path(t, "t/no")), -EACCES);
	T_OK(tree_has(t, "t/no"));
	return 0;
}

START_TEST(permission_barriers_are_errors)
{
	if (geteuid() == 0)
		T_SKIP("root passes every permission");
	with_tree(_i, barrier);
}
END_TEST

static int other_device(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_du_result r;

	T_EQ(tree_run("cd '%s' && mkdir -p t/a t/m && mount -t tmpfs tmpfs t/m && mkdir t/m/x && echo y > t/m/x/y && echo z > t/a/z",
		      t->root), 0);
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.total_entries, 6);
	o.one_file_system = true;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.total_entries, 3);
	T_EQ(r.skipped_cross_device, 1);
	check_against_du(tree_path(t, "t"), du_counts_directories(t), true);
	T_EQ(spg_remove_all(tree_path(t, "t/m/x")), 0);
	T_ERR(spg_remove_all(tree_path(t, "t/m")), -EBUSY);
	T_EQ(umount2(tree_path(t, "t/m"), MNT_DETACH), 0);
	return 0;
}

START_TEST(other_file_systems_are_told_apart)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		T_SKIP("no private mounts without privileges");
	with_tree(_i, other_device);
}
END_TEST

static int linked_device(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_du_result r;

	T_EQ(tree_run("cd '%s' && mkdir t && echo x > t/f && ln -s /proc/self/status t/p", t->root), 0);
	o.symlinks = SPG_DU_FOLLOW;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.files, 2);
	o.one_file_system = true;
	r = count(tree_path(t, "t"), &o);
	T_EQ(r.files, 1);
	T_EQ(r.skipped_cross_device, 1);
	return 0;
}

START_TEST(symlinks_to_other_file_systems_are_told_apart)
{
	with_tree(_i, linked_device);
}
END_TEST

static int limits(struct tree *t)
{
	static const unsigned workers[] = { 1, 2, 7, 100 };
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_du_result first;

	make_wide(t, 50, 4);
	o.workers_max = 3;
	first = count(t->root, &o);
	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		spg_du_result r;

		o.workers_max = workers[i];
		r = count(t->root, &o);
		T_EQ(memcmp(&r, &first, sizeof(r)), 0);
	}
	return 0;
}

/* Goal: the number of workers changes nothing. */
START_TEST(any_number_of_workers_counts_the_same)
{
	with_tree(_i, limits);
}
END_TEST

struct watch {
	spg_ctx *cancel;
	unsigned calls;
	uint64_t entries;
};

static void watch_progress(const spg_du_result *so_far, void *arg)
{
	struct watch *w = arg;

	T_OK(so_far->total_entries >= w->entries);
	w->entries = so_far->total_entries;
	w->calls++;
	if (w->cancel != NULL)
		spg_ctx_cancel(w->cancel);
}

static int progresses(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_ctx *ctx = spg_ctx_new(NULL), *before;
	struct watch w = { 0 };
	spg_du_result r;
	int err;

	make_wide(t, 150, 2);
	o.workers_max = 2;
	o.progress = watch_progress;
	o.progress_ns = 1; /* after each step */
	o.arg = &w;
	r = count(t->root, &o);
	T_OK(w.calls > 0 && w.entries <= r.total_entries);

	w = (struct watch){ .cancel = ctx };
	before = spg_ctx_enter(ctx);
	err = spg_du(t->root, &o, &r);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	T_ERR(err, -ECANCELED);
	T_EQ(w.calls, 1);
	T_OK(r.total_entries >= w.entries);
	return 0;
}

/* Goal: progress only grows; a context that ends on the way ends the count. */
START_TEST(progress_is_told_and_a_cancel_ends_it)
{
	with_tree(_i, progresses);
}
END_TEST

static int deadline(struct tree *t)
{
	spg_du_result r;
	int err;

	make_wide(t, 150, 2);
	{
		SPG_TIMEOUT_SCOPE(100 * SPG_US);

		do {
			err = spg_du(t->root, NULL, &r);
		} while (err == 0);
	}
	T_ERR(err, -ETIMEDOUT);
	T_EQ(spg_du(t->root, NULL, &r), 0);
	return 0;
}

START_TEST(a_deadline_ends_it)
{
	with_tree(_i, deadline);
}
END_TEST

static int no_memory(struct tree *t)
{
	spg_du_opts o = SPG_DU_OPTS_INIT;
	int failures = 0, err = -ENOMEM;
	spg_du_result r;

	make_corpus(t);
	o.errors = SPG_DU_SKIP;
	o.symlinks = SPG_DU_FOLLOW;
	/* Fewer helpers than it may have is no failure: they may be the ones without memory. */
	for (int64_t nth = 1; nth < 60; nth++) {
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		err = spg_du(tree_path(t, "c"), &o, &r);
		spg__fault_disarm(SPG__FAULT_ALLOC);
		T_OK(err == 0 || err == -ENOMEM);
		failures += err == -ENOMEM;
	}
	T_EQ(err, 0);
	T_OK(failures >= 5);
	return 0;
}

/* Goal: whichever allocation fails, the call says so and leaves nothing behind. */
START_TEST(fault_no_memory_is_an_error)
{
	with_tree(_i, no_memory);
}
END_TEST

/* A tree and what it takes. */
struct expected {
	const char *path;
	uint64_t bytes;
};

static int count_again(void *arg)
{
	const struct expected *expected = arg;

	for (int i = 0; i < 5; i++)
		T_EQ(count(expected->path, NULL).total_bytes, expected->bytes);
	return 0;
}

static int at_once(struct tree *t)
{
	struct expected expected = { .path = t->root };
	spg_group *g = spg_group_new(0);

	make_wide(t, 30, 4);
	expected.bytes = count(t->root, NULL).total_bytes;
	for (int i = 0; i < 16; i++)
		T_EQ(spg_group_go(g, count_again, &expected), 0);
	T_EQ(spg_group_wait(g), 0);
	spg_group_free(g);
	return 0;
}

/* Goal: counts share the pool without one another's numbers. */
START_TEST(stress_many_counts_at_once)
{
	with_tree(_i, at_once);
}
END_TEST

/* The program: the same numbers as du prints, and its exit status. */
START_TEST(the_program_prints_as_du_does)
{
	static const char *const options[] = { "-B1", "-b", "-k", "-m", "-B 512", "-h", "-l", "-cx", "--apparent-size" };
	const char *build = getenv("B") != NULL ? getenv("B") : "build";
	char program[256];
	struct tree t;

	snprintf(program, sizeof(program), "%s/du", build);
	if (access(program, X_OK) != 0)
		T_SKIP("the tools are not built");
	tree_init(&t);
	make_corpus(&t);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if ((i == 1 || i == 8) && !du_counts_directories(&t))
			continue;
		T_EQ(tree_run("a=$(%s -s %s '%s/c') && b=$(du -s %s '%s/c') && [ \"$a\" = \"$b\" ]", program, options[i],
			      t.root, options[i], t.root), 0);
	}
	T_EQ(WEXITSTATUS(tree_run("%s '%s/none' 2>/dev/null", program, t.root)), 1);
	T_EQ(WEXITSTATUS(tree_run("%s -j 0 2>/dev/null", program)), 2);
	T_EQ(WEXITSTATUS(tree_run("%s -L '%s/c' >/dev/null 2>&1", program, t.root)), 1);
	tree_fini(&t);
}
END_TEST

T_MAIN(T_SHARDS(du_agrees_with_coreutils), T_TEST(a_foreign_thread_agrees_with_coreutils),
       T_SHARDS(prop_random_trees_agree_with_coreutils), T_SHARDS(du_counts_by_kind),
       T_SHARDS(du_skips_or_fails_on_errors), T_SHARDS(far_errors_are_named_by_their_whole_path),
       T_SHARDS(depth_costs_few_descriptors), T_SHARDS(permission_barriers_are_errors),
       T_SHARDS(other_file_systems_are_told_apart),
       T_SHARDS(symlinks_to_other_file_systems_are_told_apart), T_SHARDS(any_number_of_workers_counts_the_same),
       T_SHARDS(progress_is_told_and_a_cancel_ends_it), T_SHARDS(a_deadline_ends_it),
       T_SHARDS(fault_no_memory_is_an_error), T_SHARDS(stress_many_counts_at_once),
       T_TEST(the_program_prints_as_du_does))
