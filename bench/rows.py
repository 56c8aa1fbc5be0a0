"""What is measured, and the limits: coordination, memory, whole programs (rows_net.py: network and files)."""

from twins import (BEST, COORDINATION, NO_IO, OURS, TWINS, Group, Row, go, pthread, rust, spg)
from rows_files import FILE_GROUPS, FILE_ROWS
from rows_net import CPU, NET_GROUPS, NET_ROWS


def parked_group(name, n, stack_kib, quick=True):
    args = ("--n", str(n), "--stack", str(stack_kib << 10))
    lanes = (spg("spg", "parked", *args),)
    without = {twin: "a task that has no stack holds what its author puts into it" for twin in TWINS}
    without |= {"may": "not written", "pthread": f"{n:,} threads", "uring": "no I/O in it", "epoll": "no I/O in it"}
    if n <= 100000:
        lanes += (go("go", "parked", "-n", str(n)),)
        del without["go"]
    else:
        without["go"] = "2.7 GB of goroutines; parked_64k has it"
    return Group(name, lanes, without, quick=quick)


def program_group(name, spg_args, go_args, *more, without):
    """A whole program from exec to exit, timed by hyperfine."""
    kind = {"kind": "program"}
    return Group(name, (spg("spg", *spg_args, "--once", **kind), go("go", *go_args, "-once", **kind), *more),
                 COORDINATION | without)


# One pass of each lane of a group has the same number of operations, so that sums agree.
YIELDS = ("--ops", "4000000")
SPAWNS = ("--ops", "20000")
FANS = ("--ops", "100000")
TRIPS = ("--ops", "800000")
TRIPS_FAR = ("--ops", "10000")
VALUES = ("--ops", "4000000")
# Of the reference's coordination suite: iterations of 256 round trips, and of 2,048 messages.
STEADY_TRIPS = ("--ops", str(256 * 40))
ONE_WAY = ("--ops", str(2048 * 100))
SELECTS = ("--ops", "1000000")
LOCKS = ("--ops", "4000000")
PIECES = ("--ops", "512")
LEAVES = ("--ops", "1000000")
PRIMES = ("--ops", "2000")
REQUESTS = ("--ops", "1600")
NAPS = ("--ops", "200000")
DATAGRAMS = ("--ops", "128000", "--shards", "1")

NOT_WRITTEN = {"may": "not written"}
SPAWNED = {"pthread": "100,000 threads a pass take seconds; the requests of 16 branches have them"}
SHARDS_HAVE = {"pthread": "on one CPU it is the scheduler's latency; between shards futex stands for it"}

GROUPS = (
    Group("yield", (
        go("go", "yield", "-procs", "1", *YIELDS),
        spg("spg", "yield", "--shards", "1", *YIELDS),
        spg("spg_0of2", "yield", "--shards", "2", "--place", "0", *YIELDS),
        rust("tokio", "yield", *YIELDS, workers=1),
        rust("may", "yield", *YIELDS, workers=1),
    ), COORDINATION | {"pthread": "sched_yield does not make two threads take turns"}),
    Group("spawn_wait", (
        go("go", "spawn_wait", *SPAWNS),
        spg("spg", "spawn_wait", *SPAWNS),
        rust("tokio", "spawn_wait", *SPAWNS),
        rust("may", "spawn_wait", *SPAWNS),
        go("go_1", "spawn_wait", "-procs", "1", *SPAWNS),
        spg("spg_1", "spawn_wait", "--shards", "1", *SPAWNS),
        rust("tokio", "spawn_wait", *SPAWNS, workers=1, name="tokio_1"),
        rust("may", "spawn_wait", *SPAWNS, workers=1, name="may_1"),
    ), COORDINATION | SPAWNED),
    Group("pingpong", (
        go("go", "pingpong", "-procs", "1", *TRIPS),
        spg("spg", "pingpong", "--shards", "1", *TRIPS),
        spg("spg_0of2", "pingpong", "--shards", "2", "--place", "0", *TRIPS),
        rust("tokio", "pingpong", *TRIPS, workers=1),
        rust("may", "pingpong", *TRIPS, workers=1),
    ), COORDINATION | SHARDS_HAVE),
    Group("pingpong_shards", (
        go("go_threads", "pingpong_threads", *TRIPS_FAR),
        go("go_cpus", "pingpong_cpus", *TRIPS_FAR),
        spg("spg", "pingpong_shards", "--shards", "2", *TRIPS_FAR),
        spg("spg_spin0", "pingpong_shards", "--shards", "2", "--spin-ns", "0",
            "--pin-shards", *TRIPS_FAR),
        spg("futex", "futex_pingpong", *TRIPS_FAR),
    ), COORDINATION | {twin: "steady_ping_pong_rtt has it: where its tasks run cannot be said"
                       for twin in ("tokio", "may")}),
    Group("steady_ping_pong_rtt", (
        go("go", "steady_ping_pong_rtt", "-procs", "2", *STEADY_TRIPS),
        go("go_threads", "steady_ping_pong_rtt_threads", "-procs", "2", *STEADY_TRIPS),
        spg("spg_msg", "steady_ping_pong_rtt", "--shards", "2", *STEADY_TRIPS),
        spg("spg_chan", "pingpong_shards", "--shards", "2", *STEADY_TRIPS),
        spg("spg_msg_spin0", "steady_ping_pong_rtt", "--shards", "2", "--spin-ns", "0", *STEADY_TRIPS),
        spg("spg_chan_spin0", "pingpong_shards", "--shards", "2", "--spin-ns", "0", *STEADY_TRIPS),
        rust("tokio", "pingpong", *STEADY_TRIPS),
        rust("may", "pingpong", *STEADY_TRIPS),
        spg("futex", "futex_pingpong", *STEADY_TRIPS),
    ), COORDINATION),
    *(Group("steady_one_way_send_drain" + batch, (
        go("go", "steady_one_way_send_drain" + batch, "-procs", "2", *ONE_WAY),
        spg("spg", "steady_one_way_send_drain" + batch, "--shards", "2", *ONE_WAY),
        spg("spg_chan", "steady_one_way_chan" + batch, "--shards", "2", *ONE_WAY),
        rust("tokio", "steady_one_way_send_drain" + batch, *ONE_WAY),
    ), COORDINATION | NOT_WRITTEN | {"pthread": "a queue of its own would be another design"})
      for batch in ("", "_batched_64", "_all")),
    Group("chan128", (
        go("go", "chan128", *VALUES),
        spg("spg", "chan128", *VALUES),
        rust("tokio", "chan128", *VALUES),
        go("go_1", "chan128", "-procs", "1", *VALUES),
        spg("spg_1", "chan128", "--shards", "1", *VALUES),
        rust("tokio", "chan128", *VALUES, workers=1, name="tokio_1"),
    ), COORDINATION | {"may": "its channels have no bound", "pthread": "threads have no channels"}),
    *(Group(name, (
        go("go", name, "-procs", "1", *SELECTS),
        spg("spg", name, "--shards", "1", *SELECTS),
        rust("tokio", name, *SELECTS, workers=1),
    ), COORDINATION | NOT_WRITTEN | {"pthread": "threads have no select over channels"})
      for name in ("select4", "select4_buf")),
    Group("chan4x4", (
        go("go", "chan4x4", *VALUES),
        spg("spg", "chan4x4", *VALUES),
        go("go_1", "chan4x4", "-procs", "1", *VALUES),
        spg("spg_1", "chan4x4", "--shards", "1", *VALUES),
    ), COORDINATION | NOT_WRITTEN | {"tokio": "its channels have one receiver", "pthread": "threads have no channels"}),
    Group("mutex", (
        go("go", "mutex", "-procs", "1", *LOCKS),
        spg("spg", "mutex", "--shards", "1", *LOCKS),
        rust("tokio", "mutex", *LOCKS, workers=1),
        pthread("mutex", *LOCKS),
        go("go_two", "mutex_two", "-procs", "2", *LOCKS),
        spg("spg_two", "mutex_two", "--shards", "2", *LOCKS),
        spg("pthread_two", "mutex_two", "--pthreads", *LOCKS),
    ), COORDINATION | NOT_WRITTEN),
    Group("wg_fanout", (
        go("go", "wg_fanout", "-procs", "1", *FANS),
        spg("spg", "wg_fanout", "--shards", "1", *FANS),
        rust("tokio", "wg_fanout", *FANS, workers=1),
        rust("may", "wg_fanout", *FANS, workers=1),
        go("go_2", "wg_fanout", "-procs", "2", *FANS),
        spg("spg_2", "wg_fanout", "--shards", "2", *FANS),
        rust("tokio", "wg_fanout", *FANS, name="tokio_2"),
        rust("may", "wg_fanout", *FANS, name="may_2"),
    ), COORDINATION | SPAWNED),
    Group("chunks", (
        spg("spg_one", "chunks", "--shards", "1", *PIECES),
        spg("spg", "chunks", "--shards", "2", *PIECES),
        go("go", "chunks", "-procs", "2", *PIECES),
    ), COORDINATION | {twin: "fanout has it" for twin in ("tokio", "may", "pthread")}),
    Group("skynet", (
        go("go", "skynet", "-procs", "2", *LEAVES),
        spg("spg", "skynet", "--shards", "2", *LEAVES),
        rust("tokio", "skynet", *LEAVES),
        go("go_1", "skynet", "-procs", "1", *LEAVES),
        spg("spg_1", "skynet", "--shards", "1", *LEAVES),
    ), COORDINATION | NOT_WRITTEN | {"pthread": "1,111,111 threads"}),
    Group("sieve", (
        go("go", "sieve", "-procs", "1", *PRIMES),
        spg("spg", "sieve", "--shards", "1", *PRIMES),
        rust("tokio", "sieve", *PRIMES, workers=1),
        go("go_2", "sieve", "-procs", "2", *PRIMES),
        spg("spg_2", "sieve", "--shards", "2", *PRIMES),
    ), COORDINATION | NOT_WRITTEN | {"pthread": "threads have no channels"}),
    *(Group(name, (
        go("go", row, "-procs", "2", *REQUESTS),
        spg("spg", row, "--shards", "2", *REQUESTS),
        spg("spg_spin0", row, "--shards", "2", "--spin-ns", "0", *REQUESTS),
        rust("tokio", row, *REQUESTS),
        rust("may", row, *REQUESTS),
        pthread(row, *REQUESTS),
    ), COORDINATION) for name, row in (("fanout", "fanout_balanced"), ("fanout_skewed", "fanout_skewed"))),
    Group("sleepers", (
        go("go", "sleepers", *NAPS),
        spg("spg", "sleepers", *NAPS),
        rust("tokio", "sleepers", *NAPS),
        rust("may", "sleepers", *NAPS),
    ), COORDINATION | {"pthread": "10,000 threads"}),
    *NET_GROUPS,
    *FILE_GROUPS,
    program_group("program_start", ("start", "--shards", "2", "--ops", "1"), ("start", "-procs", "2", "-ops", "1"),
                  pthread("start", "--once", "--ops", "1", kind="program"),
                  without={twin: "its runtime starts with the first task: program_cold has it"
                           for twin in ("tokio", "may")}),
    program_group("program_cold", ("pingpong_shards", "--shards", "2", "--ops", "64"),
                  ("pingpong", "-procs", "2", "-ops", "64"),
                  rust("tokio", "pingpong", "--once", "--ops", "64", kind="program"),
                  rust("may", "pingpong", "--once", "--ops", "64", kind="program"),
                  spg("futex", "futex_pingpong", "--once", "--ops", "64", kind="program"), without={}),
    program_group("program_skynet", ("skynet", "--shards", "2", *LEAVES), ("skynet", "-procs", "2", *LEAVES),
                  rust("tokio", "skynet", "--once", *LEAVES, kind="program"),
                  without=NOT_WRITTEN | {"pthread": "1,111,111 threads"}),
    program_group("program_sieve", ("sieve", "--shards", "2", *PRIMES), ("sieve", "-procs", "2", *PRIMES),
                  rust("tokio", "sieve", "--once", *PRIMES, kind="program"),
                  without=NOT_WRITTEN | {"pthread": "threads have no channels"}),
    parked_group("parked_64k", 100000, 64),
    parked_group("parked_256k", 100000, 256, quick=False),
    parked_group("parked_1m", 1000000, 64, quick=False),
    parked_group("parked_1m_256k", 1000000, 256, quick=False),
    Group("conns", (spg("spg", "conns", "--n", "8000"),), OURS, quick=False),
    Group("idle_streams", (
        spg("spg_stream", "idle_stream", "--n", "8000"),
        spg("spg_buffer", "idle_buffer", "--n", "8000"),
    ), OURS),
    Group("udp", (
        spg("spg_plain", "udp_plain", *DATAGRAMS),
        spg("spg_stream", "udp_stream", *DATAGRAMS),
        spg("spg_gso", "udp_gso", *DATAGRAMS),
        spg("spg_gso_stream", "udp_gso_stream", *DATAGRAMS),
        spg("spg_gso_gro", "udp_gso_gro", *DATAGRAMS),
    ), OURS, quick=False),
    Group("idle", (
        spg("spg", "idle", "--n", "10000", kind="idle"),
        go("go", "idle", "-n", "10000", kind="idle"),
    ), NO_IO | {twin: "only those that spin or tick of themselves are of interest: spg and Go"
                for twin in ("tokio", "compio", "monoio", "may", "pthread")}, quick=False),
)

ONE_SHARD = "1 shard, GOMAXPROCS=1, 1 worker"
TWO_SHARDS = "2 shards, GOMAXPROCS=2, 2 workers"
DEFAULT = "default shards and GOMAXPROCS"
ALONE = "1 shard"
HYPERFINE = "2 shards, GOMAXPROCS=2, 2 workers, not pinned; exec to exit, by hyperfine"
KIB = ", stack size in the row's name"

ROWS = (
    Row("yield, one shard", "yield", "spg", "go", 0.45, setting=ONE_SHARD),
    Row("yield, against the best", "yield", "spg", BEST, None, also=CPU, setting=ONE_SHARD),
    Row("yield, shard 0 of 2 against one shard", "yield", "spg_0of2", "spg", 1.15, also=CPU,
        setting="2 shards, both coroutines pinned to shard 0"),
    Row("spawn + wait, one at a time", "spawn_wait", "spg", "go", 0.30, also=CPU, setting=DEFAULT),
    Row("spawn + wait, against the best", "spawn_wait", "spg", ("go", "tokio", "may"), 0.90, also=CPU, setting=DEFAULT),
    Row("spawn + wait, one shard", "spawn_wait", "spg_1", "go_1", 0.30, setting=ONE_SHARD),
    Row("spawn + wait, one shard, against the best", "spawn_wait", "spg_1", ("go_1", "tokio_1", "may_1"), 0.90,
        setting=ONE_SHARD),
    Row("unbuffered ping-pong, one shard", "pingpong", "spg", "go", 0.45, setting=ONE_SHARD),
    Row("ping-pong, one shard, against the best", "pingpong", "spg", BEST, None,
        setting=ONE_SHARD + "; Tokio: capacity 1, may: no bound"),
    Row("unbuffered ping-pong, shard 0 of 2 against one shard", "pingpong", "spg_0of2", "spg", 1.15,
        also=CPU, setting="2 shards, both coroutines pinned to shard 0"),
    Row("ping-pong between two shards", "pingpong_shards", "spg", "go_threads", 0.05, also=CPU,
        setting="2 shards, default spin_ns; Go: both goroutines locked to threads"),
    Row("the same, Go's threads bound to CPUs", "pingpong_shards", "spg", "go_cpus", 0.05, also=CPU,
        setting="2 shards, default spin_ns; Go: threads bound to CPU 0 and 1"),
    Row("ping-pong between two shards, no spinning, against futex", "pingpong_shards", "spg_spin0",
        "futex", 1.30, also=CPU,
        setting="2 shards, spin_ns=0, shards and futex threads bound to CPU 0 and 1"),
    *(Row(f"steady_ping_pong_rtt, {what}", "steady_ping_pong_rtt", lane, base, also=CPU, setting=setting)
      for what, lane, base, setting in (
        ("messages against Go", "spg_msg", "go", "2 shards, GOMAXPROCS=2: Go may run both on one thread"),
        ("messages against Go's threads", "spg_msg", "go_threads", "2 shards; Go: both goroutines locked to threads"),
        ("channels against Go's threads", "spg_chan", "go_threads", "the same, unbuffered channels"),
        ("channels against Tokio", "spg_chan", "tokio", "2 shards, 2 workers: Tokio may run both on one"),
        ("channels against may", "spg_chan", "may", "2 shards, 2 workers: may may run both on one"),
        ("messages against channels", "spg_msg", "spg_chan", "2 shards"),
        ("messages against channels, no spinning", "spg_msg_spin0", "spg_chan_spin0", "2 shards, spin_ns=0"),
        ("channels, no spinning, against futex", "spg_chan_spin0", "futex",
         "2 shards, spin_ns=0; futex threads bound to CPU 0 and 1"),
      )),
    *(Row(f"steady_one_way_send_drain, {what}{against}", "steady_one_way_send_drain" + batch, "spg", base, also=CPU,
          setting=f"{TWO_SHARDS}; {setting}")
      for what, batch, setting in (
        ("one at a time", "", "Go: a channel of 2,048; Tokio: no bound"),
        ("batches of 64", "_batched_64", "Go: slices, Tokio: vectors through a channel"),
        ("2,048 at once", "_all", "Go: slices, Tokio: vectors through a channel"),
      ) for base, against in (("go", ""), ("tokio", ", against Tokio"), ("spg_chan", ", against channels"))),
    Row("channel of 128, 1 x 1", "chan128", "spg", "go", 1.0, also=CPU, setting=DEFAULT),
    Row("channel of 128, 1 x 1, against Tokio", "chan128", "spg", "tokio", None, also=CPU, setting=DEFAULT),
    Row("channel of 128, 1 x 1, one shard", "chan128", "spg_1", "go_1", 1.0, setting=ONE_SHARD),
    Row("channel of 128, 1 x 1, one shard, against Tokio", "chan128", "spg_1", "tokio_1", None, setting=ONE_SHARD),
    Row("select over 4 unbuffered", "select4", "spg", "go", 0.45, setting=ONE_SHARD),
    Row("select over 4 unbuffered, against Tokio", "select4", "spg", "tokio", None,
        setting=ONE_SHARD + "; Tokio: capacity 1"),
    Row("select over 4 buffered", "select4_buf", "spg", "go", 0.50, setting=ONE_SHARD),
    Row("select over 4 buffered, against Tokio", "select4_buf", "spg", "tokio", None, setting=ONE_SHARD),
    Row("channel of 128, 4 x 4", "chan4x4", "spg", "go", 0.90, also=CPU, setting=DEFAULT),
    Row("channel of 128, 4 x 4, one shard", "chan4x4", "spg_1", "go_1", 0.90, setting=ONE_SHARD),
    Row("mutex, uncontended", "mutex", "spg", "go", 1.0, setting=ONE_SHARD),
    Row("mutex, uncontended, against Tokio", "mutex", "spg", "tokio", None, setting=ONE_SHARD),
    Row("mutex, uncontended, against pthreads", "mutex", "spg", "pthread", None, setting=ONE_SHARD),
    Row("mutex, two fight", "mutex", "spg_two", "go_two", 1.0, also=CPU, setting=TWO_SHARDS),
    Row("mutex, two fight, against pthreads", "mutex", "spg_two", "pthread_two", None, also=CPU, setting=TWO_SHARDS),
    Row("1,000 spawned and awaited, each", "wg_fanout", "spg", "go", 0.50, setting=ONE_SHARD),
    Row("1,000 spawned and awaited, each, against the best", "wg_fanout", "spg", ("go", "tokio", "may"), 0.90,
        setting=ONE_SHARD),
    Row("1,000 spawned and awaited, two shards, each", "wg_fanout", "spg_2", "go_2", 0.50, also=CPU,
        setting=TWO_SHARDS),
    Row("1,000 spawned and awaited, two shards, against the best", "wg_fanout", "spg_2", ("go_2", "tokio_2", "may_2"),
        0.90, also=CPU, setting=TWO_SHARDS),
    Row("1,000 spawned and awaited, two shards, against the best: CPU", "wg_fanout", "spg_2",
        ("go_2", "tokio_2", "may_2"), 0.90, "cpu_ns_per_op", setting=TWO_SHARDS),
    Row("skynet, 1,000,000 leaves, each", "skynet", "spg", "go", 0.70, also=CPU, setting=TWO_SHARDS),
    Row("skynet, against Tokio", "skynet", "spg", "tokio", None, also=CPU, setting=TWO_SHARDS),
    Row("skynet, one shard", "skynet", "spg_1", "go_1", 0.70, setting=ONE_SHARD),
    Row("sieve, 2,000 primes, each", "sieve", "spg", "go", 0.70, setting=ONE_SHARD),
    Row("sieve, against Tokio", "sieve", "spg", "tokio", None, setting=ONE_SHARD + "; Tokio: capacity 1"),
    Row("sieve, two shards", "sieve", "spg_2", "go_2", 0.70, also=CPU, setting=TWO_SHARDS),
    Row("chunks of CPU placed on shard 0: two shards against one", "chunks", "spg", "spg_one", 0.625, also=CPU,
        setting="2 shards, 1 shard; the ideal is 0.5"),
    Row("chunks of CPU placed on shard 0, against Go", "chunks", "spg", "go", 1.0, also=CPU, setting=TWO_SHARDS),
    *(row for name, group in (("request of 16 equal branches", "fanout"),
                              ("request of 16 branches, one hot", "fanout_skewed")) for row in (
        Row(name, group, "spg", "go", 1.0, also=CPU, setting=TWO_SHARDS),
        Row(f"{name}: time against the best", group, "spg", BEST, 0.90, setting=TWO_SHARDS),
        Row(f"{name}: CPU against the best", group, "spg", BEST, 0.90, "cpu_ns_per_op", setting=TWO_SHARDS),
        Row(f"{name}: p99 against the best", group, "spg", BEST, None, "p99_us", "us", setting=TWO_SHARDS),
        Row(f"{name}: CPU, no spinning", group, "spg_spin0", BEST, None, "cpu_ns_per_op",
            setting=TWO_SHARDS + ", spin_ns=0"),
        Row(f"{name}: CPU against a thread each", group, "spg", "pthread", None, "cpu_ns_per_op", setting=TWO_SHARDS),
    )),
    Row("10,000 sleepers, p99 lateness", "sleepers", "spg", "go", 0.33, "late_p99_us", "us",
        also=(("late_p50_us", "p50 us"),), setting=DEFAULT),
    Row("10,000 sleepers, p99 lateness against the best", "sleepers", "spg", BEST, None, "late_p99_us", "us",
        also=(("late_p50_us", "p50 us"),), setting=DEFAULT),
    Row("10,000 sleepers, CPU per wake", "sleepers", "spg", "go", 0.90, "cpu_ns_per_op", setting=DEFAULT),
    *NET_ROWS,
    *FILE_ROWS,
    Row("a program that starts and ends", "program_start", "spg", "go", None, also=CPU, setting=HYPERFINE),
    Row("a program that starts and ends, against plain C", "program_start", "spg", "pthread", None, also=CPU,
        setting=HYPERFINE),
    Row("a program of 64 round trips", "program_cold", "spg", "go", None, also=CPU, setting=HYPERFINE),
    Row("a program of 64 round trips, against the best", "program_cold", "spg", BEST, None, also=CPU,
        setting=HYPERFINE),
    Row("a program of 64 round trips, against two threads", "program_cold", "spg", "futex", None, also=CPU,
        setting=HYPERFINE),
    Row("skynet as a program", "program_skynet", "spg", "go", 0.70, also=CPU, setting=HYPERFINE),
    Row("skynet as a program, against Tokio", "program_skynet", "spg", "tokio", None, also=CPU, setting=HYPERFINE),
    Row("sieve as a program", "program_sieve", "spg", "go", 0.70, also=CPU, setting=HYPERFINE),
    Row("sieve as a program, against Tokio", "program_sieve", "spg", "tokio", None, also=CPU, setting=HYPERFINE),
    Row("100,000 parked, 64 KiB stacks, bytes each", "parked_64k", "spg", "", 4600, "bytes_each", "B",
        setting=DEFAULT + KIB),
    Row("100,000 parked, 256 KiB stacks, bytes each", "parked_256k", "spg", "", 4950, "bytes_each", "B",
        setting=DEFAULT + KIB),
    Row("100,000 parked goroutines, bytes each", "parked_64k", "go", "", None, "bytes_each", "B", setting=DEFAULT),
    Row("1,000,000 parked, 64 KiB stacks, bytes each", "parked_1m", "spg", "", 4600, "bytes_each", "B",
        setting=DEFAULT + KIB),
    Row("1,000,000 parked, 256 KiB stacks, bytes each", "parked_1m_256k", "spg", "", 4950,
        "bytes_each", "B", setting=DEFAULT + KIB),
    Row("8,000 parked in spg_read, bytes each", "conns", "spg", "", None, "bytes_each", "B", setting=DEFAULT,
        also=(("bytes_each_half", "B each at 4,000"), ("slab_bytes_each", "B kernel slab each"))),
    Row("8,000 against 4,000 of them, growth per connection", "conns", "spg", "", 1.05, "growth", "x",
        setting=DEFAULT),
    Row("8,000 idle streams against buffers of 16 KiB on stacks, bytes each", "idle_streams", "spg_stream",
        "spg_buffer", 0.30, "bytes_each", "B", setting=DEFAULT),
    Row("datagrams received by a stream, CPU each", "udp", "spg_stream", "spg_plain", None, "cpu_ns_per_op",
        setting=ALONE),
    Row("datagrams sent 32 at once, CPU each", "udp", "spg_gso", "spg_plain", 0.60, "cpu_ns_per_op", setting=ALONE),
    Row("the same, received by a stream, CPU each", "udp", "spg_gso_stream", "spg_plain", 0.60, "cpu_ns_per_op",
        setting=ALONE),
    Row("the same, coalesced, CPU each", "udp", "spg_gso_gro", "spg_plain", 0.15, "cpu_ns_per_op", setting=ALONE),
    Row("idle, 10,000 parked, 5 s: CPU", "idle", "spg", "", 1.0, "cpu_ms", "ms", setting=DEFAULT,
        also=(("threads", "threads"), ("iou_wrk_threads", "io-wq workers"))),
    Row("idle, 10,000 parked, 5 s: context switches", "idle", "spg", "", 5, "switches", "", setting=DEFAULT),
    Row("idle, threads beyond shards + watchdog + pool + caller", "idle", "spg", "", 0, "threads_other", "",
        setting=DEFAULT),
    Row("idle, 10,000 goroutines, 5 s: CPU", "idle", "go", "", None, "cpu_ms", "ms", setting=DEFAULT,
        also=(("threads", "threads"), ("switches", "switches"))),
)
