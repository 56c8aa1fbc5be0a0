"""Runs one lane once and returns its report."""

import atexit
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

TIMEOUT_S = 300
IDLE_S = 5


class Failed(Exception):
    """A lane that could not be measured."""


class Skipped(Exception):
    """A lane that has nothing to measure here: it says why."""


@dataclass(frozen=True)
class Context:
    build: str
    quick: bool

    def argv(self, one):
        words = [word.replace("{build}", self.build) for word in one.argv]
        return (["taskset", "-c", one.cpus] if one.cpus else []) + words

    @staticmethod
    def env(one):
        return os.environ | dict(one.env)


def lane(one, group, context):
    kinds = {"line": line, "echo": echo, "idle": idle, "peer": peer, "http": http, "churn": churn, "tree": tree}
    return kinds[one.kind](one, group, context)


def last_json(text, argv):
    for candidate in reversed(text.strip().split("\n")):
        if candidate.startswith("{"):
            return json.loads(candidate)
    raise Failed(f"no result from {' '.join(argv)}")


def finish(argv, env):
    """Runs a program to its end and returns what it printed."""
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise Failed(str(err)) from err
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def line(one, _group, context):
    """A program that measures itself."""
    argv = context.argv(one)
    report = last_json(finish(argv, context.env(one)), argv)
    if "skipped" in report:
        raise Skipped(report["skipped"])
    if report.get("bytes_each_half"):
        report["growth"] = report["bytes_each"] / report["bytes_each_half"]
    return report


def start(one, context, **pipes):
    try:
        return subprocess.Popen(context.argv(one), env=context.env(one), text=True,
                                stdout=subprocess.PIPE, **pipes)
    except OSError as err:
        raise Failed(str(err)) from err


def stop(process):
    """Ends a program that was started here."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


PEER_CPU = "1"


def peer(one, _group, context):
    """A client that measures itself against the echo peer, which is bound to a CPU."""
    process = subprocess.Popen(["taskset", "-c", PEER_CPU, os.path.join(context.build, "bench", "peer")],
                               text=True, stdout=subprocess.PIPE)
    try:
        address = listening(process, "peer")
        argv = context.argv(one) + ["--addr", address]
        return last_json(finish(argv, context.env(one)), argv)
    finally:
        stop(process)


def listening(process, name):
    """The address a server announces."""
    greeting = process.stdout.readline()
    address = greeting.strip().rsplit(" ", 1)[-1]
    if ":" not in address:
        raise Failed(f"{name} does not listen: {greeting!r}")
    return address


def echo(one, group, context):
    """A server on its CPU, the load client on CPU 1. The client verifies every byte."""
    process = start(one, context)
    try:
        address = listening(process, one.name)
        return load(address, group.conns, process.pid, context)
    finally:
        stop(process)


def churn(one, _group, context):
    """The same server, and connections of one round trip each."""
    process = start(one, context)
    try:
        argv = ["taskset", "-c", "1", f"{context.build}/bench/churn", listening(process, one.name),
                "1" if context.quick else "2", str(process.pid)]
        return last_json(finish(argv, os.environ), argv)
    finally:
        stop(process)


@functools.cache
def tree_dir():
    """100,000 entries: 1,100 folders, files of up to one block. Gone when the program ends."""
    root = tempfile.mkdtemp(prefix="spg-bench-tree-")
    atexit.register(shutil.rmtree, root)
    for top in range(100):
        for mid in range(10):
            folder = os.path.join(root, f"folder-{top}", f"{mid}")
            os.makedirs(folder)
            # 1,100 folders, and 98 or 99 files in each of the inner ones.
            for n in range(98 + (mid < 9)):
                with open(os.path.join(folder, f"file-{n}.txt"), "wb") as f:
                    f.write(b"x" * (n % 5 * 100))
    os.sync()
    return root


def tree(one, _group, context):
    """A program that counts the tree, as a whole: start, work, end. It prints "KiB, tab, path"."""
    root = tree_dir()
    argv = [word.format(dir=root) for word in context.argv(one)]
    finish(argv, context.env(one))
    wall_ns = cpu_ns = runs = 0
    while wall_ns < (3e8 if context.quick else 1e9):
        before, begin_ns = os.times(), time.monotonic_ns()
        text = finish(argv, context.env(one))
        wall_ns += time.monotonic_ns() - begin_ns
        after = os.times()
        cpu_ns += round(1e9 * (after.children_user - before.children_user +
                               after.children_system - before.children_system))
        runs += 1
    return {"ns_per_op": wall_ns / runs / 1e5, "cpu_ns_per_op": cpu_ns / runs / 1e5, "checksum": text.split()[0]}


NGINX = """user root; daemon off; worker_processes 1; pid {tmp}/nginx.pid; error_log {tmp}/nginx.log;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; open_file_cache max=1000; keepalive_requests 1000000000;
client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; fastcgi_temp_path {tmp}/fastcgi;
uwsgi_temp_path {tmp}/uwsgi; scgi_temp_path {tmp}/scgi;
server {{ listen 127.0.0.1:{port}; root {tmp}; }} }}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def http(one, group, context):
    """A file server on CPU 0, wrk on CPU 1: GET of one file. CPU is the server's, workers included."""
    with tempfile.TemporaryDirectory() as tmp:
        os.chmod(tmp, 0o755)
        with open(os.path.join(tmp, "hello.txt"), "w", encoding="utf-8") as f:
            f.write("Hello, world")
        with open(os.path.join(tmp, "100000.bin"), "wb") as f:
            f.write(os.urandom(100000))
        port = free_port()
        with open(os.path.join(tmp, "nginx.conf"), "w", encoding="utf-8") as f:
            f.write(NGINX.format(tmp=tmp, port=port))
        words = [word.format(build=context.build, dir=tmp, port=port) for word in one.argv]
        process = subprocess.Popen(["taskset", "-c", "0"] + words, env=context.env(one), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            address = f"127.0.0.1:{port}"
            for _ in range(100):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                raise Failed(f"{one.name} does not listen")
            return wrk(f"http://{address}/{group.target}", group.conns, process.pid, context)
        finally:
            stop(process)


def family_cpu_ns(pid):
    """CPU time of a process and its children (nginx has a worker)."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        pids = [pid] + f.read().split()
    ticks = 0
    for one in pids:
        with open(f"/proc/{one}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")


WRK_UNITS = {"us": 1, "ms": 1e3, "s": 1e6}


def wrk(url, conns, pid, context):
    seconds = 1 if context.quick else 3
    argv = ["taskset", "-c", "1", "wrk", "-t", "1", "-c", str(conns), "--latency"]
    finish(argv + ["-d", "1s", url], os.environ)
    before = family_cpu_ns(pid)
    text = finish(argv + ["-d", f"{seconds}s", url], os.environ)
    cpu = family_cpu_ns(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise Failed(f"errors from {url}: {text[-300:]}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    return {"cpu_ns_per_op": cpu / requests, "per_second": requests / seconds,
            "p50_us": float(p50.group(1)) * WRK_UNITS[p50.group(2)],
            "p99_us": float(p99.group(1)) * WRK_UNITS[p99.group(2)]}


def load(address, conns, pid, context):
    seconds = "1" if context.quick else "2"
    argv = ["taskset", "-c", "1", f"{context.build}/load", address, "--connections", str(conns),
            "--bytes", "256", "--seconds", seconds, "--warmup", "0.3", "--server-pid", str(pid), "--json"]
    report = last_json(finish(argv, os.environ), argv)
    if report["mismatches"] or not report["requests"]:
        raise Failed(f"{report['requests']} requests, {report['mismatches']} wrong replies")
    report["cpu_ns_per_op"] = report["server_cpu_ns"]
    return report


def threads(pid):
    """Of each thread: name, CPU ns, context switches."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        base = f"/proc/{pid}/task/{tid}/"
        with open(base + "comm", encoding="utf-8") as f:
            name = f.read().strip()
        with open(base + "schedstat", encoding="utf-8") as f:
            cpu = int(f.read().split()[0])
        with open(base + "status", encoding="utf-8") as f:
            switches = sum(int(text.split()[1]) for text in f if "ctxt_switches" in text)
        found.append((name, cpu, switches))
    return found


def idle(one, _group, context):
    """Watches a parked crowd from outside for some seconds, then wakes it and takes its sum."""
    process = start(one, context, stdin=subprocess.PIPE)
    try:
        if process.stdout.readline().strip() != "ready":
            raise Failed(f"{one.name}: the crowd never got ready")
        time.sleep(2)
        before = threads(process.pid)
        time.sleep(IDLE_S)
        after = threads(process.pid)
        rest, _ = process.communicate("go on\n", TIMEOUT_S)
    finally:
        stop(process)
    if process.returncode != 0:
        raise Failed(f"{one.name} ended with {process.returncode}")
    report = last_json(rest, context.argv(one))
    workers = [t for t in after if t[0].startswith("iou-wrk")]
    report["cpu_ms"] = (sum(t[1] for t in after) - sum(t[1] for t in before)) / 1e6
    report["switches"] = sum(t[2] for t in after) - sum(t[2] for t in before)
    report["iou_wrk_threads"] = len(workers)
    report["threads"] = len(after) - len(workers)
    report["thread_names"] = sorted(t[0] for t in after)
    # The caller of spg_run, the watchdog, the shards and the pool are expected.
    expected = 2 + report.get("shards", 0) + report.get("pool_threads", 0)
    report["threads_other"] = report["threads"] - expected
    return report
