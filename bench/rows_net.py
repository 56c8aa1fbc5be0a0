"""The rows of network, files and servers."""

from twins import (BEST, LIMITS_ARE_SINGLE, NO_IO, OURS, RUNTIMES, TWINS, Group, Lane, Row, go, pthread, rust, spg)

FS = {"may": "has no files of its own: a read would block the worker"}
NO_DROP = {"may": "has no timer that can be dropped"}
UNWINDS = {"may": "cancels by unwinding, which this build (panic = abort) has not"}


def net_group(row, *args, rusts=RUNTIMES, threads=True, without=None):
    """The same workload on all runtimes, two shards or workers, against the peer. Compio and Monoio with
    one runtime, and with one per core and the streams dealt out."""
    lanes = [go("go", row, "-procs", "2", *args, kind="peer"),
             spg("spg", row, "--shards", "2", *args, kind="peer"),
             spg("spg_spin0", row, "--shards", "2", "--spin-ns", "0", *args, kind="peer")]
    for runtime in rusts:
        if runtime in ("compio", "monoio"):
            lanes.append(rust(runtime, row, *args, workers=1, kind="peer"))
            if row in DEALT:
                lanes.append(rust(runtime, row, *args, workers=2, name=f"{runtime}_2", kind="peer"))
        else:
            lanes.append(rust(runtime, row, *args, workers=2, kind="peer"))
    if threads:
        lanes.append(pthread(row, *args, kind="peer"))
    return Group(row, tuple(lanes), LIMITS_ARE_SINGLE | (without or {}))


# The rows that Compio and Monoio also run with a runtime per core.
DEALT = ("net_imbalanced", "net_rotation", "net_rotation_sync", "net_pipeline", "net_keyed_sum", "net_flip")


def net_group_one(row, *args, rusts=RUNTIMES, loops="", without=None):
    """One stream: one shard or worker, bound to CPU 0. Left free, the kernel's wakes would put some
    clients on the peer's CPU and others not, and that would be all one measures."""
    more = {"kind": "peer", "cpus": "0"}
    lanes = [go("go", row, "-procs", "1", *args, **more),
             spg("spg", row, "--shards", "1", *args, **more),
             spg("spg_spin0", row, "--shards", "1", "--spin-ns", "0", *args, **more),
             *(rust(runtime, row, *args, workers=1, **more) for runtime in rusts),
             pthread(row, *args, **more)]
    if loops:
        lanes += [spg(loop, f"{loop}_{loops}", *args, **more) for loop in ("uring", "epoll")]
    reasons = {} if loops else {"uring": "net_rtt and net_window have it", "epoll": "net_rtt and net_window have it"}
    return Group(row, tuple(lanes), reasons | (without or {}))


def file_group(row, *args):
    threads = (pthread(row, *args),) if row == "read_rtt" else ()
    return Group(row, (go("go", row, "-procs", "1", *args), spg("spg", row, "--shards", "1", *args),
                       rust("tokio", row, *args, workers=1), rust("compio", row, *args, workers=1),
                       rust("monoio", row, *args, workers=1), spg("uring", "uring_" + row, *args), *threads),
                 FS | {"epoll": "files are always ready"} |
                 ({} if threads else {"pthread": "a read that is cached does not wait: threads add nothing to read_rtt"}))


def echo_lanes(*names):
    server = {"kind": "echo", "cpus": "0"}
    lanes = (
        Lane("go", ("{build}/bench/spgbench", "echo", "-procs", "1"), "go", **server),
        Lane("spg", ("{build}/echo", "127.0.0.1:0"), env=(("SPG_SHARDS", "1"),), **server),
        Lane("spg_spin0", ("{build}/echo", "127.0.0.1:0"), env=(("SPG_SHARDS", "1"), ("SPG_SPIN_NS", "0")), **server),
        Lane("uring", ("{build}/bench/echo_uring",), **server),
        Lane("epoll", ("{build}/bench/echo_epoll",), **server),
        Lane("pthread", ("{build}/echo_pthread",), **server),
        *(rust(runtime, "echo", "--addr", "127.0.0.1:0", workers=1, **server) for runtime in RUNTIMES),
    )
    return tuple(lane for lane in lanes if not names or lane.name in names)


def echo_group(conns, *names, quick=True):
    return Group(f"echo{conns}", echo_lanes(*names), conns=conns, same_sum=False, quick=quick,
                 without={twin: "echo64 has it" for twin in TWINS if names and twin not in names})


def echo_shards_group(conns):
    """The server where it likes on both CPUs, with as many shards and with more."""
    return Group(f"echo{conns}_shards", tuple(
        Lane(f"spg_{n}", ("{build}/echo", "127.0.0.1:0"), "", "echo", "", (("SPG_SHARDS", str(n)),))
        for n in (2, 4, 8)), OURS, conns=conns, same_sum=False, quick=False)


NO_HTTP = {twin: "httpd is compared with file servers: Go's, nginx, and itself with threads"
           for twin in (*RUNTIMES, "uring", "epoll")}


def http_lanes(kind, needs=""):
    at = "127.0.0.1:{port}"
    return (
        Lane("go", ("{build}/bench/spgbench", "httpd", "-procs", "1", "-addr", at, "-dir", "{dir}"), "go", kind),
        Lane("spg", ("{build}/httpd", "--listen", at, "{dir}"), needs, kind, env=(("SPG_SHARDS", "1"),)),
        Lane("pthread", ("{build}/httpd_pthread", "--listen", at, "{dir}"), needs, kind),
        Lane("nginx", ("nginx", "-c", "{dir}/nginx.conf"), "nginx", kind),
    )


def http_group(target, conns, quick=True):
    return Group(f"http_{target.split('.')[0]}_{conns}", http_lanes("http", "wrk"), NO_HTTP, conns=conns,
                 target=target, same_sum=False, quick=quick)


NET_GROUPS = (
    net_group_one("net_rtt", "--ops", "512", loops="rtt"),
    net_group_one("net_window", "--ops", "2048", loops="window"),
    net_group("net_imbalanced", "--ops", "2944"),
    net_group("net_rotation", "--ops", "2944"),
    net_group("net_rotation_sync", "--ops", "2944"),
    net_group("net_pipeline", "--ops", "8192"),
    net_group("net_flip", "--ops", "17600"),
    net_group("net_keyed", "--ops", "2944", rusts=("tokio", "may"), threads=False, without={
        "compio": "no channel between its runtimes; net_keyed_sum has it", "pthread": "net_keyed_sum has it",
        "monoio": "no channel between its runtimes; net_keyed_sum has it"}),
    net_group("net_keyed_sum", "--ops", "2944"),
    net_group_one("net_sparse", "--ops", "128"),
    net_group_one("net_fs", "--ops", "1024"),
    net_group("net_deadline", "--ops", "16384", rusts=("tokio", "compio", "monoio"), without=NO_DROP),
    net_group("net_first_k", "--ops", "512", rusts=("tokio", "compio", "monoio"), without=UNWINDS),
    net_group("net_churn", "--ops", "800"),
    Group("timer_storm", (
        go("go", "timer_storm", "-procs", "1", "-ops", "1024"),
        spg("spg", "timer_storm", "--shards", "1", "--ops", "1024"),
        spg("spg_spin0", "timer_storm", "--shards", "1", "--spin-ns", "0", "--ops", "1024"),
        *(rust(runtime, "timer_storm", "--ops", "1024", workers=1) for runtime in ("tokio", "compio", "monoio")),
        pthread("timer_storm", "--ops", "1024"),
    ), NO_IO | NO_DROP),
    file_group("read_rtt", "--ops", "20000"),
    file_group("read_qd32", "--ops", "20000"),
    echo_group(64),
    echo_group(512, "go", "spg", "uring", quick=False),
    echo_group(5000, "go", "spg", "uring"),
    echo_shards_group(64),
    echo_shards_group(512),
    Group("accept_churn", echo_lanes(), conns=32, load="churn", same_sum=False),
    http_group("hello.txt", 64),
    http_group("hello.txt", 1000, quick=False),
    http_group("100000.bin", 64, quick=False),
    Group("http_idle", http_lanes("http_idle"), NO_HTTP, same_sum=False, quick=False),
    Group("http_held", tuple(lane for lane in http_lanes("http_held") if lane.name != "pthread"),
          NO_HTTP | {"pthread": "8,000 threads"}, same_sum=False, quick=False),
)

CPU = (("cpu_ns_per_op", "CPU ns"),)
WALL = (("ns_per_op", "wall ns"),)
TWO = "2 shards or workers, the peer bound to CPU 1"
SERVER = "1 shard, GOMAXPROCS=1, 1 nginx worker on CPU 0, wrk on CPU 1"
HELD = "1 shard, GOMAXPROCS=1, 1 nginx worker on CPU 0, the clients on CPU 1"
ONE = "1 shard or worker bound to CPU 0, the peer to CPU 1"
ONLY_ONE = "1 shard, GOMAXPROCS=1, 1 worker"
AT_0 = "server on CPU 0 (1 shard, GOMAXPROCS=1, 1 worker), load on CPU 1"
RATE = (("per_second", "req/s"),)

NET_ROWS = (
    *(row for name, group, setting in (
        ("one stream, round trips of 256 bytes", "net_rtt", ONE),
        ("one stream, 4 KiB frames, 32 under way", "net_window", ONE),
        ("8 streams, one hot", "net_imbalanced", TWO),
        ("8 streams, the hot one rotates", "net_rotation", TWO),
        ("8 streams, the hot one rotates, a barrier after each step", "net_rotation_sync", TWO),
        ("8 streams, work after I/O, the hot one rotates", "net_pipeline", TWO),
        ("8 streams, barriers, the hot one flips", "net_flip", TWO),
        ("8 streams, rotating, 16 messages a frame to 2 owners", "net_keyed", TWO),
        ("8 streams, rotating, 16 counts a frame to 2 owners", "net_keyed_sum", TWO),
        ("a round trip, then 50 us of silence", "net_sparse", ONE),
        ("a cached read, then a round trip", "net_fs", ONE),
        ("timers, file reads and round trips", "net_deadline", TWO),
        ("first 2 answers of 8, the other reads canceled", "net_first_k", TWO),
        ("connect, a round trip, close", "net_churn", TWO),
        ("timers armed and dropped, 8 and a sleep of 1 us", "timer_storm", ONLY_ONE),
    ) for row in (
        Row(f"{name}: CPU", group, "spg", BEST, 0.90, "cpu_ns_per_op", also=WALL, setting=setting),
        Row(f"{name}: time", group, "spg", BEST, 0.90, setting=setting),
        Row(f"{name}: CPU, no spinning", group, "spg_spin0", BEST, None, "cpu_ns_per_op", also=WALL,
            setting=f"{setting}, spin_ns=0"),
    )),
    *(Row(f"{name}: CPU against {what}", group, "spg", lane, None, "cpu_ns_per_op", also=WALL, setting=ONE)
      for name, group in (("one stream, round trips of 256 bytes", "net_rtt"),
                          ("one stream, 4 KiB frames, 32 under way", "net_window"))
      for what, lane in (("a raw ring loop", "uring"), ("an epoll loop", "epoll"), ("a thread", "pthread"))),
    Row("cached 4 KiB reads, one at a time: CPU", "read_rtt", "spg", BEST, 1.0, "cpu_ns_per_op", also=WALL,
        setting=ONLY_ONE),
    Row("cached 4 KiB reads, one at a time: CPU against pread(2)", "read_rtt", "spg", "pthread", None,
        "cpu_ns_per_op", also=WALL, setting=ONLY_ONE),
    Row("cached 4 KiB reads, 32 at once: CPU", "read_qd32", "spg", BEST, 1.0, "cpu_ns_per_op", also=WALL,
        setting=ONLY_ONE),
    Row("cached 4 KiB reads, 32 at once: CPU against the raw ring", "read_qd32", "spg", "uring", 1.05,
        "cpu_ns_per_op", also=WALL, setting=ONLY_ONE),
    *(Row(f"echo, {conns} connections, CPU per request", f"echo{conns}", "spg", "go", 0.90,
          "cpu_ns_per_op", also=RATE, setting=AT_0) for conns in (64, 512, 5000)),
    Row("echo, 64 connections, CPU against the best", "echo64", "spg", BEST, 1.00, "cpu_ns_per_op", also=RATE,
        setting=AT_0),
    Row("echo, 64 connections, CPU, no spinning", "echo64", "spg_spin0", BEST, None, "cpu_ns_per_op", also=RATE,
        setting=AT_0 + ", spin_ns=0"),
    *(Row(f"echo, {conns} connections, against the raw ring loop", f"echo{conns}", "spg", "uring", limit,
          "cpu_ns_per_op", also=RATE, setting=AT_0) for conns, limit in ((64, 1.05), (512, 1.08), (5000, 1.05))),
    Row("echo, 64 connections, against an epoll loop", "echo64", "spg", "epoll", None, "cpu_ns_per_op", also=RATE,
        setting=AT_0),
    Row("echo, 64 connections, against a thread each", "echo64", "spg", "pthread", None, "cpu_ns_per_op",
        also=RATE, setting=AT_0),
    *(Row(f"echo, {conns} connections, {n} shards against 2", f"echo{conns}_shards", f"spg_{n}", "spg_2", 1.10,
          "cpu_ns_per_op", also=RATE, setting="server on both CPUs, load on CPU 1")
      for conns in (64, 512) for n in (4, 8)),
    Row("short connections accepted: CPU each", "accept_churn", "spg", "go", 0.85, "cpu_ns_per_op", also=RATE,
        setting=AT_0 + ", 32 open"),
    Row("short connections accepted: CPU against the best", "accept_churn", "spg", BEST, 0.90, "cpu_ns_per_op",
        also=RATE, setting=AT_0 + ", 32 open"),
    Row("short connections accepted: CPU, no spinning", "accept_churn", "spg_spin0", BEST, None, "cpu_ns_per_op",
        also=RATE, setting=AT_0 + ", 32 open, spin_ns=0"),
    *(Row(f"short connections accepted: CPU against {what}", "accept_churn", "spg", lane, None, "cpu_ns_per_op",
          also=RATE, setting=AT_0 + ", 32 open")
      for what, lane in (("the raw ring loop", "uring"), ("an epoll loop", "epoll"), ("a thread each", "pthread"))),
    *(row for name, group in (("12 bytes, 64 connections", "http_hello_64"),
                              ("12 bytes, 1,000 connections", "http_hello_1000")) for row in (
        Row(f"httpd, {name}: CPU", group, "spg", "go", 0.70, "cpu_ns_per_op", also=RATE, setting=SERVER),
        Row(f"httpd, {name}: p99", group, "spg", "go", 0.70, "p99_us", "us", setting=SERVER),
        Row(f"httpd, {name}: CPU against nginx", group, "spg", "nginx", 0.90, "cpu_ns_per_op", also=RATE,
            setting=SERVER),
        Row(f"httpd, {name}: CPU against a thread each", group, "spg", "pthread", None, "cpu_ns_per_op",
            also=RATE, setting="on CPU 0, wrk on CPU 1"),
    )),
    Row("httpd, 100,000 bytes, 64 connections: CPU against nginx", "http_100000_64", "spg", "nginx", 1.0,
        "cpu_ns_per_op", also=RATE, setting=SERVER),
    Row("httpd, 100,000 bytes, 64 connections: CPU against Go", "http_100000_64", "spg", "go", None,
        "cpu_ns_per_op", also=RATE, setting=SERVER),
    Row("httpd, 1,000 idle connections, bytes each against a thread each", "http_idle", "spg", "pthread", 0.25,
        "bytes_each", "B", also=(("resident_each", "without kernel stacks"),), setting="1 shard"),
    *(Row(f"httpd, 1,000 idle connections, bytes each against {what}", "http_idle", "spg", lane, None, "bytes_each",
          "B", setting="1 shard") for what, lane in (("Go", "go"), ("nginx", "nginx"))),
    Row("httpd, 8,000 held and served while 50 a second come: not served", "http_held", "spg", "", 0, "lost", "clients",
        also=(("served", "served"), ("p99_us", "p99 us of those that come")), setting=HELD),
    *(Row(f"httpd, 8,000 held and served: CPU an answer against {what}", "http_held", "spg", lane, None,
          "cpu_ns_per_op", also=(("lost", "not served"), ("p99_us", "p99 us of those that come")), setting=HELD)
      for what, lane in (("Go", "go"), ("nginx", "nginx"))),
)
