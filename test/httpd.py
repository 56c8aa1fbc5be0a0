"""What the tests of httpd and its twin share: a running server, requests and answers, a crowd of clients, the
folder served.

B: the build folder. SPG_TEST_ONLY=name runs one test. SPG_TEST_SEED: another seed.
CK_TIMEOUT_MULTIPLIER: patience, for builds that are slow.
"""
import contextlib
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from crowd import raise_file_limit

BUILD = os.environ.get("B", "build")
SLOW = int(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
PATIENCE_S = 10 * SLOW
SEED = int(os.environ.get("SPG_TEST_SEED", "20240229"))
BIG_BYTES = 32 << 20
SIZES = [0, 1, 12, 4096, 28000, 32767, 32768, 32769, 65536, 100000, 1 << 20]
CPUS = len(os.sched_getaffinity(0))
PROGRAMS = ("httpd", "httpd_pthread")

folder = tempfile.TemporaryDirectory(prefix="test_httpd.")
SCRATCH = folder.name
ROOT = os.path.join(SCRATCH, "root")
tests = []


class Skip(Exception):
    """The machine lacks something, and this is what."""


def test(function, programs=PROGRAMS):
    tests.extend((program, function) for program in programs)
    return function


def test_of_httpd(function):
    """A test of what the twin has not, or need not do."""
    return test(function, PROGRAMS[:1])


class Server:
    """A running server of the folder ROOT, ended and checked at the end of a `with`.

    httpd tells at its end what it made and never gave back: coroutines, descriptors, channels. So every
    test is one for leaks as well; builds with AddressSanitizer look at memory too.
    """

    def __init__(self, program, *options, files_max=None, cpus=None, shards=None):
        self.program = program
        self.options = options
        self.files_max = files_max
        self.cpus = cpus
        self.shards = shards
        self.ended = False

    def limit(self):
        if self.files_max:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.files_max, self.files_max))
        if self.cpus:
            os.sched_setaffinity(0, self.cpus)

    def environment(self):
        environment = os.environ | {"SPG_DEBUG": "leaks"}
        return environment | {"SPG_SHARDS": str(self.shards)} if self.shards else environment

    def __enter__(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, self.program), "--listen", "127.0.0.1:0", *self.options, ROOT],
            stdout=subprocess.PIPE, stderr=self.errors, text=True, preexec_fn=self.limit, env=self.environment())
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise AssertionError(f"{self.program} did not start: {self.errors.read()}")
        host, port = line.split()[-1].rsplit(":", 1)
        self.address = (host, int(port))
        self.listeners = self.count_files("socket:")
        get(self, "/f12.txt")
        self.wait_closed()
        return self

    def files(self):
        """What its open descriptors are."""
        found, links = [], f"/proc/{self.process.pid}/fd"
        for name in os.listdir(links):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(os.path.join(links, name)))
        return found

    def count_files(self, kind=""):
        """Open descriptors of a kind: what their links begin with."""
        return sum(name.startswith(kind) for name in self.files())

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def connect(self):
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def wait_closed(self):
        """No socket is left but those that listen."""
        until = time.monotonic() + PATIENCE_S
        while (count := self.count_files("socket:")) > self.listeners:
            assert time.monotonic() < until, f"{count} sockets stay open"
            time.sleep(0.02)

    def check_files(self):
        """Files are kept open, but each once for every CPU and path at most; none here has more than two paths."""
        names = [name for name in self.files() if name.startswith(ROOT)]
        for name in set(names):
            assert names.count(name) <= 2 * CPUS, f"{name} is open {names.count(name)} times"

    def end(self, number=signal.SIGTERM, limit_s=PATIENCE_S):
        """Ends it; how long that took."""
        start = time.monotonic()
        self.process.send_signal(number)
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no end within {limit_s} s of signal {number}") from None
        finally:
            self.ended = True
        self.errors.seek(0)
        self.text = self.errors.read()
        assert status == 0, f"exit status {status}: {self.text}"
        assert "not freed" not in self.text, self.text
        return time.monotonic() - start

    def count(self, name):
        """A number that --stats said at the end."""
        match = re.search(rf"\b{name} (\d+)", self.text)
        assert match, f"no {name} in {self.text}"
        return int(match.group(1))

    def __exit__(self, kind, value, trace):
        if kind is None and not self.ended:
            self.wait_closed()
            self.check_files()
            self.end()
        elif not self.ended:
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            sys.stderr.write(self.errors.read())
        self.process.stdout.close()
        self.errors.close()


class Reply:
    def __init__(self, status, head, headers, body):
        self.status, self.head, self.headers, self.body = status, head, headers, body


def read_reply(stream, no_body=False):
    """One response from a file object; None at its end. ValueError: cut short."""
    line = stream.readline()
    if not line:
        return None
    match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [^\r\n]+\r\n", line)
    assert match, f"no status line: {line!r}"
    headers, head = {}, line
    while True:
        line = stream.readline()
        head += line
        if line == b"\r\n":
            break
        name, value = line.rstrip(b"\r\n").decode().split(": ", 1)
        assert name.lower() not in headers, f"{name} twice"
        headers[name.lower()] = value
    status = int(match.group(1))
    size = 0 if no_body or status == 304 else int(headers["content-length"])
    body = stream.read(size)
    if len(body) < size:
        raise ValueError(f"{len(body)} bytes of {size}")
    return Reply(status, head, headers, body)


def request(target, method="GET", headers=(), version="1.1", close=False):
    lines = [f"{method} {target} HTTP/{version}", "Host: test", *headers]
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def exchange(server, data, no_body=False):
    """Sends bytes on a connection of their own; the response, and that the server closes."""
    with server.connect() as s, s.makefile("rb") as stream:
        s.sendall(data)
        reply = read_reply(stream, no_body)
        assert stream.read() == b""
        return reply


def ask(s, data=None):
    """Sends a request on a connection that is kept, and takes the answer."""
    s.sendall(data or request("/f12.txt"))
    with s.makefile("rb") as stream:
        return read_reply(stream)


def get(server, target, *headers, method="GET"):
    return exchange(server, request(target, method, headers, close=True), method == "HEAD")


def content(name):
    with open(os.path.join(ROOT, name), "rb") as f:
        return f.read()


def file_content(size):
    """What is in fSIZE.txt, also before it is there."""
    return random.Random(SEED + size).randbytes(size)


def expect_status(server, data, *statuses):
    reply = exchange(server, data)
    assert reply is not None and reply.status in statuses, \
        f"{reply and reply.status} to {data[:60]!r}, expected {statuses}"
    return reply


def need_files(count):
    if not raise_file_limit(count):
        raise Skip(f"needs {count} open files, the hard limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}")


def make_root():
    source = random.Random(SEED)
    os.mkdir(ROOT)
    for size in SIZES:
        with open(os.path.join(ROOT, f"f{size}.txt"), "wb") as f:
            f.write(file_content(size))
    with open(os.path.join(ROOT, "big"), "wb") as f:
        for _ in range(BIG_BYTES >> 20):
            f.write(source.randbytes(1 << 20))
    for name in ("", "sub"):
        os.makedirs(os.path.join(ROOT, name), exist_ok=True)
        with open(os.path.join(ROOT, name, "index.html"), "w", encoding="utf-8") as f:
            f.write(f"<title>{name}</title>")
    os.mkdir(os.path.join(ROOT, "a b"))
    with open(os.path.join(ROOT, "a b", "c.unknown"), "wb") as f:
        f.write(b"?")
    with open(os.path.join(SCRATCH, "outside"), "wb") as f:
        f.write(b"secret")
    os.symlink("../outside", os.path.join(ROOT, "link_out"))
    os.symlink(os.path.join(SCRATCH, "outside"), os.path.join(ROOT, "link_absolute"))
    os.symlink("..", os.path.join(ROOT, "link_folder"))
    os.symlink("link_loop", os.path.join(ROOT, "link_loop"))
    os.symlink("../f12.txt", os.path.join(ROOT, "sub", "link_in"))
    os.mkfifo(os.path.join(ROOT, "fifo"))


def run_test(program, function):
    """What the TAP line begins with."""
    try:
        function(program)
    except Skip as reason:
        print(f"SKIP {function.__name__}: {reason}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
        return "not ok"
    return "ok"


def main():
    only = os.environ.get("SPG_TEST_ONLY")
    chosen = [(program, function) for program, function in sorted(tests, key=lambda one: one[0])
              if only is None or function.__name__ == only]
    failed = 0
    make_root()
    print(f"1..{len(chosen)}", flush=True)
    for number, (program, function) in enumerate(chosen, 1):
        verdict = run_test(program, function)
        failed += verdict != "ok"
        print(f"{verdict} {number} - {program}: {function.__name__}", flush=True)
    folder.cleanup()
    return 1 if failed else 0
