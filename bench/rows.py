"""What is measured: programs (lanes), how they are grouped, and the limits of the rows.

A lane is one program with its arguments. The lanes of a group run interleaved, round
by round, and must move the same data. A row compares two lanes of a group, or one lane
with a fixed limit.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    name: str           # as results call it
    argv: tuple         # {build} is the build directory
    needs: str = ""     # a tool that must exist: "go"
    kind: str = "line"  # line: prints one JSON line; echo, churn, http: a server; peer: a client;
                        # tree: counts a tree; idle: watched from outside
    cpus: str = ""      # a taskset list
    env: tuple = ()     # (name, value) pairs


@dataclass(frozen=True)
class Group:
    name: str           # what --rows selects
    lanes: tuple
    rounds_max: int = 1000  # rows whose numbers hardly vary need no more
    quick: bool = True      # part of --quick
    conns: int = 0          # connections of an echo or http group
    target: str = ""        # the file an http group fetches
    same_sum: bool = True   # the lanes' checksums must agree


@dataclass(frozen=True)
class Row:
    name: str
    group: str
    lane: str
    base: str = ""              # the lane it is compared with
    limit: float | None = None  # of the ratio, or of the value where there is no base; None: shown only
    metric: str = "ns_per_op"
    unit: str = "ns"
    also: tuple = ()            # further fields to show: (field, label)
    setting: str = ""           # shards, pinning, spinning


def spg(name, row, *args, **more):
    return Lane(name, ("{build}/bench/rows", row) + args, **more)


def go(name, row, *args, **more):
    return Lane(name, ("{build}/bench/spgbench", row) + args, needs="go", **more)


BEST = "best"  # a row's base: whichever of the others does best


def rust(runtime, row, *args, workers=2, name="", **more):
    return Lane(name or runtime, ("{build}/bench/rust/release/spgrust", runtime, row, "--workers", str(workers)) + args,
                needs="cargo", **more)


RUNTIMES = ("tokio", "compio", "monoio", "may")


def net_group(row, *args, rusts=RUNTIMES):
    """The same workload on all runtimes, two shards or workers, against the peer."""
    lanes = [go("go", row, "-procs", "2", *args, kind="peer"),
             spg("spg", row, "--shards", "2", *args, kind="peer"),
             spg("spg_spin0", row, "--shards", "2", "--spin-ns", "0", *args, kind="peer")]
    for runtime in rusts:
        if runtime in ("compio", "monoio"):
            lanes += [rust(runtime, row, *args, workers=1, kind="peer"),
                      rust(runtime, row, *args, workers=2, name=f"{runtime}_2", kind="peer")]
        else:
            lanes.append(rust(runtime, row, *args, workers=2, kind="peer"))
    return Group(row, tuple(lanes), rounds_max=7)


def net_group_one(row, *args, rusts=RUNTIMES, raw=""):
    """One stream: one shard or worker, bound to CPU 0. Left free, the kernel's wakes would put some
    clients on the peer's CPU and others not, and that would be all one measures."""
    more = {"kind": "peer", "cpus": "0"}
    return Group(row, (go("go", row, "-procs", "1", *args, **more),
                       spg("spg", row, "--shards", "1", *args, **more),
                       spg("spg_spin0", row, "--shards", "1", "--spin-ns", "0", *args, **more),
                       *((spg("raw", raw, *args, **more),) if raw else ()),
                       *(rust(runtime, row, *args, workers=1, **more) for runtime in rusts)), rounds_max=7)


def file_group(row, *args, rusts=(), raw="", with_go=True):
    return Group(row, (*((go("go", row, "-procs", "1", *args),) if with_go else ()),
                       spg("spg", row, "--shards", "1", *args),
                       *((spg("raw", raw, *args),) if raw else ()),
                       *(rust(runtime, row, *args, workers=1) for runtime in rusts)), rounds_max=7)


def local_group(row, *args):
    return Group(row, (go("go", row, "-procs", "1", *args), spg("spg", row, "--shards", "1", *args)), rounds_max=7)


def churn_group():
    return Group("churn", (
        Lane("go", ("{build}/bench/spgbench", "echo", "-procs", "1"), "go", "churn", "0"),
        Lane("spg", ("{build}/echo", "127.0.0.1:0"), "", "churn", "0", (("SPG_SHARDS", "1"),)),
        Lane("raw", ("{build}/bench/echo_uring",), "", "churn", "0"),
    ), same_sum=False)


PLACES = ("spread", "any", "pinned", "one", "per_shard")


def place_group(name, conns, rounds, every):
    """An echo server on both CPUs, its connections placed so or so."""
    return Group(name, tuple(Lane(place, ("{build}/bench/place", place, str(rounds), str(every)), kind="echo",
                                  env=(("SPG_SHARDS", "2"),)) for place in PLACES),
                 rounds_max=7, quick=False, conns=conns, same_sum=False)


def du_group():
    return Group("du", (
        Lane("spg", ("{build}/du", "-s", "{dir}"), kind="tree"),
        Lane("du", ("du", "-s", "{dir}"), "du", "tree"),
        Lane("go", ("{build}/bench/spgbench", "walkdir", "-dir", "{dir}"), "go", "tree"),
    ), rounds_max=7)


def echo_group(conns):
    return Group(f"echo{conns}", (
        Lane("go", ("{build}/bench/spgbench", "echo", "-procs", "1"), "go", "echo", "0"),
        Lane("spg", ("{build}/echo", "127.0.0.1:0"), "", "echo", "0", (("SPG_SHARDS", "1"),)),
        Lane("raw", ("{build}/bench/echo_uring",), "", "echo", "0"),
    ), conns=conns, same_sum=False)


def http_group(target, conns):
    at = "127.0.0.1:{port}"
    return Group(f"http_{target.split('.')[0]}_{conns}", (
        Lane("go", ("{build}/bench/spgbench", "httpd", "-procs", "1", "-addr", at, "-dir", "{dir}"), "go", "http"),
        Lane("spg", ("{build}/httpd", "--listen", at, "{dir}"), "wrk", "http", env=(("SPG_SHARDS", "1"),)),
        Lane("pthread", ("{build}/httpd_pthread", "--listen", at, "{dir}"), "wrk", "http"),
        Lane("nginx", ("nginx", "-c", "{dir}/nginx.conf"), "nginx", "http"),
    ), rounds_max=5, conns=conns, target=target, same_sum=False)


def parked_group(name, n, stack_kib, quick=True):
    args = ("--n", str(n), "--stack", str(stack_kib << 10))
    lanes = (spg("spg", "parked", *args),)
    if n <= 100000:
        lanes += (go("go", "parked", "-n", str(n)),)
    return Group(name, lanes, rounds_max=3, quick=quick)


# One pass of each lane of a group has the same number of operations, so that sums agree.
YIELDS = ("--ops", "4000000")
SPAWNS = ("--ops", "500000")
TRIPS = ("--ops", "800000")
TRIPS_FAR = ("--ops", "10000")
VALUES = ("--ops", "4000000")
# Of the reference's coordination suite: iterations of 256 round trips, and of 2,048 messages.
STEADY_TRIPS = ("--ops", str(256 * 40))
ONE_WAY = ("--ops", str(2048 * 100))
SELECTS = ("--ops", "1000000")
LOCKS = ("--ops", "4000000")
LEAVES = ("--ops", "1000000")
PRIMES = ("--ops", "2000")
REQUESTS = ("--ops", "1600")
NAPS = ("--ops", "200000")
DATAGRAMS = ("--ops", "128000", "--shards", "1")

GROUPS = (
    Group("yield", (
        go("go", "yield", "-procs", "1", *YIELDS),
        spg("spg", "yield", "--shards", "1", *YIELDS),
        spg("spg_0of2", "yield", "--shards", "2", "--place", "0", *YIELDS),
    )),
    Group("spawn_wait", (
        go("go", "spawn_wait", *SPAWNS),
        spg("spg", "spawn_wait", *SPAWNS),
        go("go_1", "spawn_wait", "-procs", "1", *SPAWNS),
        spg("spg_1", "spawn_wait", "--shards", "1", *SPAWNS),
    )),
    Group("pingpong", (
        go("go", "pingpong", "-procs", "1", *TRIPS),
        spg("spg", "pingpong", "--shards", "1", *TRIPS),
        spg("spg_0of2", "pingpong", "--shards", "2", "--place", "0", *TRIPS),
    )),
    Group("pingpong_shards", (
        go("go_threads", "pingpong_threads", *TRIPS_FAR),
        go("go_cpus", "pingpong_cpus", *TRIPS_FAR),
        spg("spg", "pingpong_shards", "--shards", "2", *TRIPS_FAR),
        spg("spg_spin0", "pingpong_shards", "--shards", "2", "--spin-ns", "0",
            "--pin-shards", *TRIPS_FAR),
        spg("futex", "futex_pingpong", *TRIPS_FAR),
    )),
    Group("steady_ping_pong_rtt", (
        go("go", "steady_ping_pong_rtt", "-procs", "2", *STEADY_TRIPS),
        go("go_threads", "steady_ping_pong_rtt_threads", "-procs", "2", *STEADY_TRIPS),
        spg("spg_msg", "steady_ping_pong_rtt", "--shards", "2", *STEADY_TRIPS),
        spg("spg_chan", "pingpong_shards", "--shards", "2", *STEADY_TRIPS),
        spg("spg_msg_spin0", "steady_ping_pong_rtt", "--shards", "2", "--spin-ns", "0", *STEADY_TRIPS),
        spg("spg_chan_spin0", "pingpong_shards", "--shards", "2", "--spin-ns", "0", *STEADY_TRIPS),
    )),
    *(Group("steady_one_way_send_drain" + batch, (
        go("go", "steady_one_way_send_drain" + batch, "-procs", "2", *ONE_WAY),
        spg("spg", "steady_one_way_send_drain" + batch, "--shards", "2", *ONE_WAY),
    )) for batch in ("", "_batched_64", "_all")),
    Group("chan128", (
        go("go", "chan128", *VALUES),
        spg("spg", "chan128", *VALUES),
        go("go_1", "chan128", "-procs", "1", *VALUES),
        spg("spg_1", "chan128", "--shards", "1", *VALUES),
    )),
    Group("select4", (
        go("go", "select4", "-procs", "1", *SELECTS),
        spg("spg", "select4", "--shards", "1", *SELECTS),
    )),
    Group("select4_buf", (
        go("go", "select4_buf", "-procs", "1", *SELECTS),
        spg("spg", "select4_buf", "--shards", "1", *SELECTS),
    )),
    Group("chan4x4", (
        go("go", "chan4x4", *VALUES),
        spg("spg", "chan4x4", *VALUES),
        go("go_1", "chan4x4", "-procs", "1", *VALUES),
        spg("spg_1", "chan4x4", "--shards", "1", *VALUES),
    )),
    Group("mutex", (
        go("go", "mutex", "-procs", "1", *LOCKS),
        spg("spg", "mutex", "--shards", "1", *LOCKS),
        go("go_two", "mutex_two", "-procs", "2", *LOCKS),
        spg("spg_two", "mutex_two", "--shards", "2", *LOCKS),
    )),
    Group("wg_fanout", (
        go("go", "wg_fanout", "-procs", "1", *SPAWNS),
        spg("spg", "wg_fanout", "--shards", "1", *SPAWNS),
        go("go_2", "wg_fanout", "-procs", "2", *SPAWNS),
        spg("spg_2", "wg_fanout", "--shards", "2", *SPAWNS),
    )),
    Group("skynet", (
        go("go", "skynet", "-procs", "2", *LEAVES),
        spg("spg", "skynet", "--shards", "2", *LEAVES),
        go("go_1", "skynet", "-procs", "1", *LEAVES),
        spg("spg_1", "skynet", "--shards", "1", *LEAVES),
    )),
    Group("sieve", (
        go("go", "sieve", "-procs", "1", *PRIMES),
        spg("spg", "sieve", "--shards", "1", *PRIMES),
        go("go_2", "sieve", "-procs", "2", *PRIMES),
        spg("spg_2", "sieve", "--shards", "2", *PRIMES),
    )),
    Group("fanout", (
        go("go", "fanout_balanced", *REQUESTS),
        spg("spg", "fanout_balanced", *REQUESTS),
    )),
    Group("fanout_skewed", (
        go("go", "fanout_skewed", *REQUESTS),
        spg("spg", "fanout_skewed", *REQUESTS),
    )),
    Group("sleepers", (
        go("go", "sleepers", *NAPS),
        spg("spg", "sleepers", *NAPS),
    )),
    net_group_one("net_rtt", "--ops", "512"),
    net_group_one("net_window", "--ops", "2048", raw="raw_window"),
    net_group("net_imbalanced", "--ops", "2944"),
    net_group("net_rotation", "--ops", "2944"),
    net_group("net_pipeline", "--ops", "8192"),
    net_group("net_flip", "--ops", "17600"),
    net_group("net_keyed", "--ops", "2944", rusts=("tokio",)),
    net_group_one("net_sparse", "--ops", "128", rusts=("tokio",)),
    net_group("net_deadline", "--ops", "16384", rusts=()),
    net_group("net_churn", "--ops", "800", rusts=("tokio",)),
    file_group("read_rtt", "--ops", "20000", rusts=("tokio", "compio", "monoio")),
    file_group("read_qd32", "--ops", "20000", rusts=("tokio", "compio", "monoio"), raw="raw_read_qd32"),
    file_group("direct_qd32", "--ops", "20000", raw="raw_direct_qd32", with_go=False),
    file_group("write_rtt", "--ops", "20000"),
    file_group("write_qd32", "--ops", "20000"),
    file_group("stat_qd32", "--ops", "20000"),
    du_group(),
    local_group("echo_udp", "--ops", "16000"),
    local_group("echo_unix", "--ops", "16000"),
    local_group("echo_unixgram", "--ops", "16000"),
    churn_group(),
    place_group("place", 64, 0, 1),
    place_group("place_skewed", 8, 200000, 2),
    echo_group(64),
    echo_group(512),
    http_group("hello.txt", 64),
    http_group("hello.txt", 1000),
    http_group("100000.bin", 64),
    parked_group("parked_64k", 100000, 64),
    parked_group("parked_256k", 100000, 256),
    parked_group("parked_1m", 1000000, 64, quick=False),
    parked_group("parked_1m_256k", 1000000, 256, quick=False),
    Group("conns", (spg("spg", "conns", "--n", "8000"),), rounds_max=3),
    Group("idle_streams", (
        spg("stream", "idle_stream", "--n", "8000"),
        spg("buffer", "idle_buffer", "--n", "8000"),
    ), rounds_max=3),
    Group("udp", (
        spg("plain", "udp_plain", *DATAGRAMS),
        spg("stream", "udp_stream", *DATAGRAMS),
        spg("gso", "udp_gso", *DATAGRAMS),
        spg("gso_stream", "udp_gso_stream", *DATAGRAMS),
        spg("gso_gro", "udp_gso_gro", *DATAGRAMS),
    ), quick=False),
    Group("idle", (
        spg("spg", "idle", "--n", "10000", kind="idle"),
        go("go", "idle", "-n", "10000", kind="idle"),
    ), rounds_max=3),
)

CPU = (("cpu_ns_per_op", "CPU ns"),)
WALL = (("ns_per_op", "wall ns"),)
TWO = "2 shards or workers, the peer bound to CPU 1"
SERVER = "1 shard, GOMAXPROCS=1, 1 nginx worker on CPU 0, wrk on CPU 1"
ONE = "1 shard or worker bound to CPU 0, the peer to CPU 1"
ALONE = "1 shard, GOMAXPROCS=1"
ECHO = (("per_second", "req/s"), ("p50_us", "p50 us"), ("p99_us", "p99 us"))

ROWS = (
    Row("yield, one shard", "yield", "spg", "go", 0.45, setting="1 shard, GOMAXPROCS=1"),
    Row("yield, shard 0 of 2 against one shard", "yield", "spg_0of2", "spg", 1.15, also=CPU,
        setting="2 shards, both coroutines pinned to shard 0"),
    Row("spawn + wait, one at a time", "spawn_wait", "spg", "go", 0.30, also=CPU,
        setting="default shards and GOMAXPROCS"),
    Row("spawn + wait, one shard", "spawn_wait", "spg_1", "go_1", 0.30,
        setting="1 shard, GOMAXPROCS=1"),
    Row("unbuffered ping-pong, one shard", "pingpong", "spg", "go", 0.45,
        setting="1 shard, GOMAXPROCS=1"),
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
        ("messages against channels", "spg_msg", "spg_chan", "2 shards"),
        ("messages against channels, no spinning", "spg_msg_spin0", "spg_chan_spin0", "2 shards, spin_ns=0"),
      )),
    *(Row(f"steady_one_way_send_drain, {what}", "steady_one_way_send_drain" + batch, "spg", "go", also=CPU,
          setting="2 shards, GOMAXPROCS=2; " + setting)
      for what, batch, setting in (
        ("one at a time", "", "Go: a channel of 2,048"),
        ("batches of 64", "_batched_64", "Go: slices through a channel"),
        ("2,048 at once", "_all", "Go: slices through a channel"),
      )),
    Row("channel of 128, 1 x 1", "chan128", "spg", "go", 1.0, also=CPU,
        setting="default shards and GOMAXPROCS"),
    Row("channel of 128, 1 x 1, one shard", "chan128", "spg_1", "go_1", 1.0,
        setting="1 shard, GOMAXPROCS=1"),
    Row("select over 4 unbuffered", "select4", "spg", "go", 0.45, setting="1 shard, GOMAXPROCS=1"),
    Row("select over 4 buffered", "select4_buf", "spg", "go", 0.50, setting="1 shard, GOMAXPROCS=1"),
    Row("channel of 128, 4 x 4", "chan4x4", "spg", "go", 0.90, also=CPU,
        setting="default shards and GOMAXPROCS"),
    Row("channel of 128, 4 x 4, one shard", "chan4x4", "spg_1", "go_1", 0.90,
        setting="1 shard, GOMAXPROCS=1"),
    Row("mutex, uncontended", "mutex", "spg", "go", 1.0, setting="1 shard, GOMAXPROCS=1"),
    Row("mutex, two fight", "mutex", "spg_two", "go_two", 1.0, also=CPU,
        setting="2 shards, GOMAXPROCS=2"),
    Row("1,000 spawned and awaited, each", "wg_fanout", "spg", "go", 0.50,
        setting="1 shard, GOMAXPROCS=1"),
    Row("1,000 spawned and awaited, two shards, each", "wg_fanout", "spg_2", "go_2", 0.50, also=CPU,
        setting="2 shards, GOMAXPROCS=2"),
    Row("skynet, 1,000,000 leaves, each", "skynet", "spg", "go", 0.70, also=CPU,
        setting="2 shards, GOMAXPROCS=2"),
    Row("skynet, one shard", "skynet", "spg_1", "go_1", 0.70, setting="1 shard, GOMAXPROCS=1"),
    Row("sieve, 2,000 primes, each", "sieve", "spg", "go", 0.70, setting="1 shard, GOMAXPROCS=1"),
    Row("sieve, two shards", "sieve", "spg_2", "go_2", 0.70, also=CPU, setting="2 shards, GOMAXPROCS=2"),
    Row("request of 16 equal branches", "fanout", "spg", "go", 1.0, also=CPU,
        setting="default shards and GOMAXPROCS"),
    Row("request of 16 branches, one hot", "fanout_skewed", "spg", "go", 1.0, also=CPU,
        setting="default shards and GOMAXPROCS"),
    Row("10,000 sleepers, p99 lateness", "sleepers", "spg", "go", 0.33, "late_p99_us", "us",
        also=(("late_p50_us", "p50 us"),), setting="default shards and GOMAXPROCS"),
    Row("10,000 sleepers, CPU per wake", "sleepers", "spg", "go", 0.90, "cpu_ns_per_op",
        setting="default shards and GOMAXPROCS"),
    *(row for name, group, setting in (
        ("one stream, round trips of 256 bytes", "net_rtt", ONE),
        ("one stream, 4 KiB frames, 32 under way", "net_window", ONE),
        ("8 streams, one hot", "net_imbalanced", TWO),
        ("8 streams, the hot one rotates", "net_rotation", TWO),
        ("8 streams, work after I/O, the hot one rotates", "net_pipeline", TWO),
        ("8 streams, barriers, the hot one flips", "net_flip", TWO),
        ("8 streams, rotating, 16 messages a frame to 2 owners", "net_keyed", TWO),
        ("a round trip, then 50 us of silence", "net_sparse", ONE),
        ("timers, file reads and round trips", "net_deadline", TWO),
        ("connect, a round trip, close", "net_churn", TWO),
    ) for row in (
        Row(f"{name}: CPU", group, "spg", BEST, 0.90, "cpu_ns_per_op", also=WALL, setting=setting),
        Row(f"{name}: time", group, "spg", BEST, 0.90, setting=setting),
        Row(f"{name}: CPU, no spinning", group, "spg_spin0", BEST, None, "cpu_ns_per_op", also=WALL,
            setting=f"{setting}, spin_ns=0"),
    )),
    Row("cached 4 KiB reads, one at a time: CPU", "read_rtt", "spg", BEST, 1.0, "cpu_ns_per_op", also=WALL,
        setting=f"{ALONE}, 1 worker"),
    Row("cached 4 KiB reads, 32 at once: CPU", "read_qd32", "spg", BEST, 1.0, "cpu_ns_per_op", also=WALL,
        setting=f"{ALONE}, 1 worker"),
    Row("cached 4 KiB reads, 32 at once: CPU against the raw ring loop", "read_qd32", "spg", "raw", 1.05,
        "cpu_ns_per_op", also=WALL, setting=ALONE),
    Row("O_DIRECT 4 KiB reads, 32 at once: time against the raw ring loop", "direct_qd32", "spg", "raw", 1 / 0.9,
        also=CPU, setting=ALONE),
    Row("buffered 4 KiB writes, one at a time: CPU", "write_rtt", "spg", "go", 1.10, "cpu_ns_per_op", also=WALL,
        setting=ALONE),
    Row("buffered 4 KiB writes, 32 at once: CPU", "write_qd32", "spg", "go", 1.10, "cpu_ns_per_op", also=WALL,
        setting=ALONE),
    Row("spg_stat, 32 at once: CPU", "stat_qd32", "spg", "go", 0.90, "cpu_ns_per_op", also=WALL, setting=ALONE),
    Row("tools/du, 100,000 entries, cached: time against coreutils, an entry", "du", "spg", "du", 1.0, also=CPU),
    Row("tools/du, 100,000 entries, cached: time against WalkDir, an entry", "du", "spg", "go", 0.6, also=CPU),
    *(Row(f"echo of 256 bytes, 16 clients, {what}: CPU of both", group, "spg", "go", 0.90, "cpu_ns_per_op",
          also=WALL, setting=ALONE)
      for what, group in (("UDP", "echo_udp"), ("unix stream", "echo_unix"),
                          ("unix datagrams", "echo_unixgram"))),
    Row("accept, one request, close: CPU", "churn", "spg", "go", 0.85, "cpu_ns_per_op",
        also=(("per_second", "conn/s"),), setting="server on CPU 0 (1 shard, GOMAXPROCS=1), clients on CPU 1"),
    Row("accept, one request, close: CPU against the raw ring loop", "churn", "spg", "raw", None, "cpu_ns_per_op",
        also=(("per_second", "conn/s"),), setting="server on CPU 0 (1 shard), clients on CPU 1"),
    *(Row(f"{what}, {place}: CPU", group, place, "spread", None, "cpu_ns_per_op", also=ECHO,
          setting="2 shards on both CPUs, load on CPU 1")
      for what, group in (("64 connections", "place"), ("8 connections, every second one computes", "place_skewed"))
      for place in PLACES[1:]),
    Row("one stream, 4 KiB frames, 32 under way: CPU against the raw ring loop", "net_window", "spg", "raw", 1.0,
        "cpu_ns_per_op", also=WALL, setting=ONE),
    *(row for conns in (64, 512) for row in (
        Row(f"echo, {conns} connections, CPU per request", f"echo{conns}", "spg", "go", 0.90,
            "cpu_ns_per_op", also=ECHO, setting="server on CPU 0 (1 shard, GOMAXPROCS=1), load on CPU 1"),
        Row(f"echo, {conns} connections, against the raw ring loop", f"echo{conns}", "spg", "raw", 1.08,
            "cpu_ns_per_op", also=ECHO, setting="server on CPU 0 (1 shard), load on CPU 1"),
    )),
    *(row for name, group in (("12 bytes, 64 connections", "http_hello_64"),
                              ("12 bytes, 1,000 connections", "http_hello_1000")) for row in (
        Row(f"httpd, {name}: CPU", group, "spg", "go", 0.70, "cpu_ns_per_op", also=ECHO, setting=SERVER),
        Row(f"httpd, {name}: p99", group, "spg", "go", 0.70, "p99_us", "us", setting=SERVER),
        Row(f"httpd, {name}: CPU against nginx", group, "spg", "nginx", 0.90, "cpu_ns_per_op", also=ECHO,
            setting=SERVER),
        Row(f"httpd, {name}: CPU against a thread each", group, "spg", "pthread", None, "cpu_ns_per_op",
            also=ECHO, setting="on CPU 0, wrk on CPU 1"),
    )),
    Row("httpd, 100,000 bytes, 64 connections: CPU against nginx", "http_100000_64", "spg", "nginx", 1.0,
        "cpu_ns_per_op", also=ECHO, setting=SERVER),
    Row("httpd, 100,000 bytes, 64 connections: CPU against Go", "http_100000_64", "spg", "go", None,
        "cpu_ns_per_op", also=ECHO, setting=SERVER),
    Row("100,000 parked, 64 KiB stacks, bytes each", "parked_64k", "spg", "", 4600, "bytes_each", "B"),
    Row("100,000 parked, 256 KiB stacks, bytes each", "parked_256k", "spg", "", 4950, "bytes_each", "B"),
    Row("100,000 parked goroutines, bytes each", "parked_64k", "go", "", None, "bytes_each", "B"),
    Row("1,000,000 parked, 64 KiB stacks, bytes each", "parked_1m", "spg", "", 4600, "bytes_each", "B"),
    Row("1,000,000 parked, 256 KiB stacks, bytes each", "parked_1m_256k", "spg", "", 4950,
        "bytes_each", "B"),
    Row("8,000 parked in spg_read, bytes each", "conns", "spg", "", None, "bytes_each", "B",
        also=(("bytes_each_half", "B each at 4,000"), ("slab_bytes_each", "B kernel slab each"))),
    Row("8,000 against 4,000 of them, growth per connection", "conns", "spg", "", 1.05, "growth", "x"),
    Row("8,000 idle streams against buffers of 16 KiB on stacks, bytes each", "idle_streams", "stream", "buffer",
        0.30, "bytes_each", "B"),
    Row("datagrams received by a stream, CPU each", "udp", "stream", "plain", None, "cpu_ns_per_op",
        setting="1 shard"),
    Row("datagrams sent 32 at once, CPU each", "udp", "gso", "plain", 0.60, "cpu_ns_per_op", setting="1 shard"),
    Row("the same, received by a stream, CPU each", "udp", "gso_stream", "plain", 0.60, "cpu_ns_per_op",
        setting="1 shard"),
    Row("the same, coalesced, CPU each", "udp", "gso_gro", "plain", 0.15, "cpu_ns_per_op", setting="1 shard"),
    Row("idle, 10,000 parked, 5 s: CPU", "idle", "spg", "", 1.0, "cpu_ms", "ms",
        also=(("threads", "threads"), ("iou_wrk_threads", "io-wq workers"))),
    Row("idle, 10,000 parked, 5 s: context switches", "idle", "spg", "", 5, "switches", ""),
    Row("idle, threads beyond shards + watchdog + pool + caller", "idle", "spg", "", 0, "threads_other", ""),
    Row("idle, 10,000 goroutines, 5 s: CPU", "idle", "go", "", None, "cpu_ms", "ms",
        also=(("threads", "threads"), ("switches", "switches"))),
)
