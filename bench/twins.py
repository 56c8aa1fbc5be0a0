"""What rows are made of: lanes (programs), groups, rows, and which twins a group must have.

A lane is one program with its arguments. The lanes of a group run interleaved, round
by round, and must move the same data. A row compares two lanes of a group, or one lane
with a fixed limit.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lane:
    name: str           # as results call it; up to the first "_" it names the twin
    argv: tuple         # {build} is the build directory
    needs: str = ""     # a tool that must exist: "go"
    kind: str = "line"  # line: prints one JSON line; peer: a client of the peer; echo: a server;
                        # idle: watched from outside; http: a file server; program: timed by hyperfine;
                        # tree: counts a tree of files
    cpus: str = ""      # a taskset list
    env: tuple = ()     # (name, value) pairs


@dataclass(frozen=True)
class Group:
    name: str           # what --rows selects
    lanes: tuple
    without: dict = field(default_factory=dict)  # {twin: why there is none}
    quick: bool = True      # part of --quick
    conns: int = 0          # connections of an echo or http group
    load: str = "load"      # what an echo group is loaded with: load, churn
    target: str = ""        # the file an http group fetches
    same_sum: bool = True   # the lanes' checksums must agree


@dataclass(frozen=True)
class Row:
    name: str
    group: str
    lane: str
    base: object = ""           # the lane it is compared with; BEST, or a tuple: the best of these
    limit: float | None = None  # of the ratio, or of the value where there is no base; None: shown only
    metric: str = "ns_per_op"
    unit: str = "ns"
    also: tuple = ()            # further fields to show: (field, label)
    setting: str = ""           # shards, pinning, spinning


BEST = "best"  # a row's base: whichever of the runtimes does best
RUNTIMES = ("tokio", "compio", "monoio", "may")  # those in bench/rust

# Every group has each of these, or a reason why not. A lane's name begins with its twin's.
TWINS = {"go": "Go", "tokio": "Tokio", "compio": "Compio", "monoio": "Monoio", "may": "may",
         "pthread": "pthreads", "uring": "raw liburing", "epoll": "epoll"}
ALIASES = {"futex": "pthread"}


def twin_of(lane_name):
    """The twin a lane is, or "" for one of spg's own and for other programs."""
    first = lane_name.split("_")[0]
    first = ALIASES.get(first, first)
    return first if first in TWINS else ""


def is_runtime(lane_name):
    """Whether BEST may choose a lane: threads and raw loops are limits, no runtimes."""
    return twin_of(lane_name) in ("go", *RUNTIMES)


def gaps(groups):
    """(group, twin) pairs that have neither a lane nor a reason, or both."""
    found = []
    for group in groups:
        there = {twin_of(lane.name) for lane in group.lanes}
        found += [(group.name, twin) for twin in TWINS if (twin in there) == (twin in group.without)]
    return found


def faults(groups, rows):
    """What is wrong with the tables themselves; empty: nothing."""
    found = [f"{group}: {TWINS[twin]} has neither a program nor a reason, or both" for group, twin in gaps(groups)]
    lanes = {group.name: {lane.name for lane in group.lanes} for group in groups}
    seen = set()
    for row in rows:
        bases = row.base if isinstance(row.base, tuple) else (row.base,)
        wanted = {row.lane, *bases} - {"", BEST}
        found += [f"{row.name}: no program {name} in {row.group}" for name in wanted - lanes.get(row.group, set())]
        found += [f"two rows are called {row.name}"] * (row.name in seen)
        found += [f"{row.name} does not say its setting"] * (not row.setting)
        seen.add(row.name)
    return found + [f"{name} has no row" for name in lanes.keys() - {row.group for row in rows}]


# Reasons that many groups share.
NO_IO = {"uring": "no I/O in it", "epoll": "no I/O in it"}
IO_ONLY = {"compio": "has I/O rows only: tasks of one thread", "monoio": "has I/O rows only: tasks of one thread"}
COORDINATION = NO_IO | IO_ONLY
LIMITS_ARE_SINGLE = {"uring": "the raw loops are the limit of single-threaded rows",
                     "epoll": "the raw loops are the limit of single-threaded rows"}
OWN = "compares spg with itself"
OURS = {twin: OWN for twin in TWINS}


def spg(name, row, *args, **more):
    return Lane(name, ("{build}/bench/rows", row) + args, **more)


def pthread(row, *args, **more):
    return spg("pthread", row, "--pthreads", *args, **more)


def go(name, row, *args, **more):
    return Lane(name, ("{build}/bench/spgbench", row) + args, needs="go", **more)


def rust(runtime, row, *args, workers=2, name="", **more):
    return Lane(name or runtime, ("{build}/bench/rust/release/spgrust", runtime, row, "--workers", str(workers)) + args,
                needs="cargo", **more)
