"""The rows of files beside cached reads, of datagrams and unix sockets, and of the placement of connections."""

from twins import LIMITS_ARE_SINGLE, OURS, RUNTIMES, Group, Lane, Row, go, spg

CPU = (("cpu_ns_per_op", "CPU ns"),)
WALL = (("ns_per_op", "wall ns"),)
RATE = (("per_second", "req/s"),)
ONE = "1 shard, GOMAXPROCS=1"
WHOLE = "whole programs, start and end included"
ON_BOTH = "2 shards on both CPUs, load on CPU 1"

GO_ONLY = {twin: "the limit is Go's" for twin in (*RUNTIMES, "pthread")} | LIMITS_ARE_SINGLE
RING_ONLY = {twin: "the disk is the limit, and the raw ring says where it is"
             for twin in ("go", *RUNTIMES, "pthread", "epoll")}
PLACES = ("spread", "any", "pinned", "one", "per_shard")


def alone_group(row, *args):
    return Group(row, (go("go", row, "-procs", "1", *args), spg("spg", row, "--shards", "1", *args)), GO_ONLY)


def place_group(name, conns, rounds, every):
    """An echo server on both CPUs, its connections placed so or so; spread is the default."""
    lanes = tuple(Lane(f"spg_{place}", ("{build}/bench/place", place, str(rounds), str(every)), kind="echo",
                       env=(("SPG_SHARDS", "2"),)) for place in PLACES)
    return Group(name, lanes, OURS, quick=False, conns=conns, same_sum=False)


FILE_GROUPS = (
    Group("direct_qd32", (
        spg("spg", "direct_qd32", "--shards", "1", "--ops", "20000"),
        spg("uring", "uring_direct_qd32", "--ops", "20000"),
    ), RING_ONLY),
    alone_group("write_rtt", "--ops", "20000"),
    alone_group("write_qd32", "--ops", "20000"),
    alone_group("stat_qd32", "--ops", "20000"),
    Group("du", (
        Lane("spg", ("{build}/du", "-s", "{dir}"), kind="tree"),
        Lane("du", ("du", "-s", "{dir}"), "du", "tree"),
        Lane("go", ("{build}/bench/spgbench", "walkdir", "-dir", "{dir}"), "go", "tree"),
    ), GO_ONLY),
    alone_group("echo_udp", "--ops", "16000"),
    alone_group("echo_unix", "--ops", "16000"),
    alone_group("echo_unixgram", "--ops", "16000"),
    place_group("place", 64, 0, 1),
    place_group("place_skewed", 8, 200000, 2),
)

FILE_ROWS = (
    Row("O_DIRECT 4 KiB reads, 32 at once: time against the raw ring", "direct_qd32", "spg", "uring", 1 / 0.9, also=CPU,
        setting=ONE),
    Row("buffered 4 KiB writes, one at a time: CPU", "write_rtt", "spg", "go", 1.10, "cpu_ns_per_op", also=WALL,
        setting=ONE),
    Row("buffered 4 KiB writes, 32 at once: CPU", "write_qd32", "spg", "go", 1.10, "cpu_ns_per_op", also=WALL,
        setting=ONE),
    Row("spg_stat, 32 at once: CPU", "stat_qd32", "spg", "go", 0.90, "cpu_ns_per_op", also=WALL, setting=ONE),
    Row("tools/du, 100,000 entries: time against coreutils, an entry", "du", "spg", "du", 1.0, also=CPU, setting=WHOLE),
    Row("tools/du, 100,000 entries: time against WalkDir, an entry", "du", "spg", "go", 0.6, also=CPU, setting=WHOLE),
    *(Row(f"echo of 256 bytes, 16 clients, {what}: CPU of both", group, "spg", "go", 0.90, "cpu_ns_per_op",
          also=WALL, setting=ONE)
      for what, group in (("UDP", "echo_udp"), ("unix stream", "echo_unix"), ("unix datagrams", "echo_unixgram"))),
    *(Row(f"{what}, {place}: CPU against spread", group, f"spg_{place}", "spg_spread", None, "cpu_ns_per_op", also=RATE,
          setting=ON_BOTH)
      for what, group in (("64 connections", "place"), ("8 connections, every second one computes", "place_skewed"))
      for place in PLACES[1:]),
)
