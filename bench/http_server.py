"""File servers: under wrk, with idle connections, and with thousands that are held while others come.

The server is bound to CPU 0, its clients to CPU 1. CPU time and memory are the server's with its workers.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from measure import Failed, finish, stop, threads

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test"))
from crowd import Crowd, Rounds, raise_file_limit

HELLO = b"Hello, world"
ASK = b"GET /hello.txt HTTP/1.1\r\nHost: bench\r\n\r\n"
RIGHT = [(200, HELLO)]
CONNECT_S = 60
# The kernel keeps a stack for each thread beside what the process sees of itself.
KERNEL_STACK_BYTES = 16 << 10
IDLE_CONNS = 1000
HELD_CONNS = 8000
ARRIVALS_PER_S = 50
ASKED_AT_ONCE = 16
OTHER_FILES = 500

NGINX = """user root; daemon off; worker_processes 1; pid {tmp}/nginx.pid; error_log {tmp}/nginx.log;
worker_rlimit_nofile 20000; events {{ worker_connections 16384; }}
http {{ access_log off; sendfile on; tcp_nopush on; open_file_cache max=1000; keepalive_requests 1000000000;
client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; fastcgi_temp_path {tmp}/fastcgi;
uwsgi_temp_path {tmp}/uwsgi; scgi_temp_path {tmp}/scgi;
server {{ listen 127.0.0.1:{port} backlog=4096; root {tmp}; }} }}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def await_listener(port, name):
    for _ in range(100):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Failed(f"{name} does not listen")


@contextlib.contextmanager
def serving(one, context):
    """A server of a folder with two files; its address and process."""
    with tempfile.TemporaryDirectory() as tmp:
        os.chmod(tmp, 0o755)
        with open(os.path.join(tmp, "hello.txt"), "wb") as f:
            f.write(HELLO)
        with open(os.path.join(tmp, "100000.bin"), "wb") as f:
            f.write(os.urandom(100000))
        port = free_port()
        with open(os.path.join(tmp, "nginx.conf"), "w", encoding="utf-8") as f:
            f.write(NGINX.format(tmp=tmp, port=port))
        words = [word.format(build=context.build, dir=tmp, port=port) for word in one.argv]
        process = subprocess.Popen(["taskset", "-c", "0"] + words, env=context.env(one), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            await_listener(port, one.name)
            yield ("127.0.0.1", port), process.pid
        finally:
            stop(process)


@contextlib.contextmanager
def on_cpu(cpu):
    """This thread, for as long as it is the client."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def family(pid):
    """A process and its children (nginx has a worker)."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        return [pid] + [int(one) for one in f.read().split()]


def family_cpu_ns(pid):
    ticks = 0
    for one in family(pid):
        with open(f"/proc/{one}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def family_threads(pid):
    return [thread for one in family(pid) for thread in threads(one)]


def family_bytes(pid):
    """Resident pages and page tables; threads."""
    resident = count = 0
    for one in family(pid):
        with open(f"/proc/{one}/status", encoding="utf-8") as f:
            text = f.read()
        resident += sum(int(kib) << 10 for kib in re.findall(r"^Vm(?:RSS|PTE):\s+(\d+) kB", text, re.M))
        count += int(re.search(r"^Threads:\s+(\d+)", text, re.M).group(1))
    return resident, count


WRK_UNITS = {"us": 1, "ms": 1e3, "s": 1e6}


def load(one, group, context):
    """GET of one file by wrk."""
    with serving(one, context) as (address, pid):
        return wrk(f"http://{address[0]}:{address[1]}/{group.target}", group.conns, pid, context)


def wrk(url, conns, pid, context):
    seconds = 1 if context.quick else 2
    argv = ["taskset", "-c", "1", "wrk", "-t", "1", "-c", str(conns), "--latency"]
    finish(argv + ["-d", "1s", url], os.environ)
    before, switches_before = family_cpu_ns(pid), sum(t[2] for t in family_threads(pid))
    text = finish(argv + ["-d", f"{seconds}s", url], os.environ)
    cpu, after = family_cpu_ns(pid) - before, family_threads(pid)
    if "Non-2xx" in text or "Socket errors" in text:
        raise Failed(f"errors from {url}: {text[-300:]}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    if requests == 0:
        raise Failed(f"no request was served: {url}")
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    return {"cpu_ns_per_op": cpu / requests, "per_second": requests / seconds, "threads": len(after),
            "switches_per_op": max(sum(t[2] for t in after) - switches_before, 0) / requests,
            "p50_us": float(p50.group(1)) * WRK_UNITS[p50.group(2)],
            "p99_us": float(p99.group(1)) * WRK_UNITS[p99.group(2)]}


def connect(crowd, count, at_once=1):
    """So many connections, some at a time; each has had an answer, and is silent then."""
    clients = []
    while len(clients) < count:
        some = [crowd.add(ASK) for _ in range(min(at_once, count - len(clients)))]
        crowd.run(lambda these=some: all(one.answers or one.closed for one in these), CONNECT_S)
        for one in some:
            if one.answers != RIGHT or one.closed:
                raise Failed(f"connection {len(clients)}: {one.closed}, {one.answers}")
        clients += some
    return clients


def idle(one, _group, context):
    """What a connection costs that has had an answer and is silent now."""
    if not raise_file_limit(IDLE_CONNS + OTHER_FILES):
        raise Failed(f"{IDLE_CONNS + OTHER_FILES} open files are not allowed")
    with serving(one, context) as (address, pid), Crowd(address) as crowd, on_cpu(1):
        connect(crowd, 10)
        before, threads_before = family_bytes(pid)
        connect(crowd, IDLE_CONNS)
        after, threads_after = family_bytes(pid)
    resident = (after - before) / IDLE_CONNS
    kernel = (threads_after - threads_before) * KERNEL_STACK_BYTES / IDLE_CONNS
    return {"bytes_each": resident + kernel, "resident_each": resident, "threads": threads_after}


def held(one, _group, context):
    """HELD_CONNS stay and ask in turn, ARRIVALS_PER_S come and stay, whatever the server does."""
    arrivals = ARRIVALS_PER_S * (2 if context.quick else 5)
    needed = HELD_CONNS + arrivals + OTHER_FILES
    if not raise_file_limit(needed):
        raise Failed(f"{needed} open files are not allowed")
    with serving(one, context) as (address, pid), Crowd(address) as crowd, on_cpu(1):
        rounds = Rounds(crowd, connect(crowd, HELD_CONNS, ASKED_AT_ONCE), ASK, RIGHT, ASKED_AT_ONCE)
        start, cpu, arrived = time.monotonic(), family_cpu_ns(pid), []

        def step():
            due = min(arrivals, int((time.monotonic() - start) * ARRIVALS_PER_S))
            while len(arrived) < due:
                arrived.append(crowd.add(ASK))
            rounds.step()

        crowd.run(lambda: len(arrived) == arrivals and rounds.served >= HELD_CONNS and
                  all(client.answers or client.closed for client in arrived), CONNECT_S, step)
        cpu = family_cpu_ns(pid) - cpu
        ended = sum(client.closed is not None for client in rounds.idle)
    lost = [client for client in arrived if client.answers != RIGHT]
    took_us = sorted(client.took_s * 1e6 for client in arrived if client.took_s)
    return {"lost": len(lost) + len(rounds.wrong) + ended, "served": rounds.served + len(arrived) - len(lost),
            "cpu_ns_per_op": cpu / (rounds.served + len(arrived)),
            "p50_us": took_us[len(took_us) // 2], "p99_us": took_us[len(took_us) * 99 // 100]}
