#!/usr/bin/env python3
"""httpd and its twin as their clients see them, on good days and bad ones. Prints TAP.

B: the build folder. SPG_TEST_ONLY=name runs one test. CK_TIMEOUT_MULTIPLIER: patience, for
builds that are slow.
"""
import contextlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = os.environ.get("B", "build")
SLOW = int(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
PATIENCE_S = 10 * SLOW
SEED = int(os.environ.get("SPG_TEST_SEED", "20240229"))
BIG_BYTES = 32 << 20
SIZES = [0, 1, 12, 4096, 28000, 32767, 32768, 32769, 65536, 100000, 1 << 20]

tests = []


def test(function):
    tests.append(function)
    return function


class Server:
    """A running server of the folder ROOT, ended and checked at the end of a `with`."""

    def __init__(self, program, *options, files_max=None):
        self.program = program
        self.options = options
        self.files_max = files_max
        self.ended = False

    def limit_files(self):
        if self.files_max:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.files_max, self.files_max))

    def __enter__(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, self.program), "--listen", "127.0.0.1:0", *self.options, ROOT],
            stdout=subprocess.PIPE, stderr=self.errors, text=True, preexec_fn=self.limit_files)
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise AssertionError(f"{self.program} did not start: {self.errors.read()}")
        host, port = line.split()[-1].rsplit(":", 1)
        self.address = (host, int(port))
        get(self, "/f12.txt")
        self.wait_closed()
        return self

    def count_files(self, kind=""):
        """Open descriptors of a kind: what their links begin with."""
        count, folder = 0, f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(os.path.join(folder, name)).startswith(kind)
        return count

    def count_listeners(self):
        return os.cpu_count() if "--reuse-port" in self.options else 1

    def connect(self):
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def wait_closed(self):
        """No socket is left but those that listen."""
        until = time.monotonic() + PATIENCE_S
        while (count := self.count_files("socket:")) > self.count_listeners():
            assert time.monotonic() < until, f"{count} sockets stay open"
            time.sleep(0.02)

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
        return time.monotonic() - start

    def __exit__(self, kind, value, trace):
        if kind is None and not self.ended:
            self.wait_closed()
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


def get(server, target, *headers, method="GET"):
    return exchange(server, request(target, method, headers, close=True), method == "HEAD")


def content(name):
    with open(os.path.join(ROOT, name), "rb") as f:
        return f.read()


def abort(s):
    """Closes with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def expect_status(server, data, *statuses):
    reply = exchange(server, data)
    assert reply is not None and reply.status in statuses, \
        f"{reply and reply.status} to {data[:60]!r}, expected {statuses}"
    return reply


@test
def every_byte_of_files_of_all_sizes(program):
    with Server(program) as server:
        for size in SIZES:
            reply = get(server, f"/f{size}.txt")
            assert reply.status == 200 and reply.body == content(f"f{size}.txt"), size
            head = get(server, f"/f{size}.txt", method="HEAD")
            assert head.status == 200 and head.body == b""
            assert int(head.headers["content-length"]) == size


@test
def types_index_and_redirect(program):
    with Server(program) as server:
        assert get(server, "/").headers["content-type"] == "text/html; charset=utf-8"
        assert get(server, "/sub/").body == content("sub/index.html")
        assert get(server, "/sub/.").body == content("sub/index.html")
        assert get(server, "/f12.txt?query#fragment").status == 200
        assert get(server, "http://test/f12.txt").status == 200
        for target, location in (("/sub", "/sub/"), ("//sub", "/sub/"), ("/a%20b", "/a%20b/"),
                                 ("/x/../sub?q", "/sub/")):
            reply = get(server, target)
            assert (reply.status, reply.headers["location"]) == (301, location), target
        assert get(server, "/a%20b/c.unknown").headers["content-type"] == "application/octet-stream"
        assert get(server, "/a%20b/").status == 404  # no index there
        assert get(server, "/f12.txt/").status == 404


@test
def no_way_out_of_the_root(program):
    with Server(program) as server:
        for target in ("/../outside", "/%2e%2e/outside", "/sub/../../outside", "/..", "/sub/%2e%2e%2f../outside",
                       "/f12.txt%00.png", "/%", "/%4", "/%zz", "*", "outside"):
            reply = get(server, target)
            assert reply.status == 400, f"{reply.status} to {target}"
        for target in ("/link_out", "/link_absolute", "/link_folder/outside", "/link_loop", "/..%5coutside", "/..."):
            reply = get(server, target)
            assert reply.status == 404 and b"secret" not in reply.body, f"{reply.status} to {target}"
        assert get(server, "/sub/link_in").body == content("f12.txt")
        assert get(server, "/sub/%2e%2e/f12.txt").body == content("f12.txt")
        assert get(server, "/fifo").status == 403  # and it does not wait for a writer


@test
def ranges(program):
    data = content("f100000.txt")
    with Server(program) as server:
        for text, first, last in (("0-0", 0, 0), ("5-9", 5, 9), ("99999-", 99999, 99999), ("-1", 99999, 99999),
                                  ("0-", 0, 99999), ("-200000", 0, 99999), ("70000-999999999999999999999", 70000, 99999),
                                  ("1000-81000", 1000, 81000)):
            reply = get(server, "/f100000.txt", f"Range: bytes={text}")
            assert reply.status == 206, text
            assert reply.headers["content-range"] == f"bytes {first}-{last}/100000", text
            assert reply.body == data[first:last + 1], text
        for text in ("100000-", "100000-100001", "-0", "99999999999999999999999-"):
            reply = get(server, "/f100000.txt", f"Range: bytes={text}")
            assert (reply.status, reply.headers["content-range"]) == (416, "bytes */100000"), text
        for text in ("bytes=9-5", "bytes=", "bytes=a-b", "bytes=0-1,5-6", "lines=1-2", "bytes=--1"):
            reply = get(server, "/f100000.txt", f"Range: {text}")
            assert reply.status == 200 and reply.body == data, text
        tag = get(server, "/f100000.txt").headers["etag"]
        assert get(server, "/f100000.txt", "Range: bytes=0-1", f"If-Range: {tag}").status == 206
        assert get(server, "/f100000.txt", "Range: bytes=0-1", 'If-Range: "other"').status == 200
        assert get(server, "/f100000.txt", "Range: bytes=0-1", method="HEAD").status == 200


@test
def conditions(program):
    with Server(program) as server:
        headers = get(server, "/f12.txt").headers
        tag, date = headers["etag"], headers["last-modified"]
        past = "Sun, 06 Nov 1994 08:49:37 GMT"
        for header, status in ((f"If-Modified-Since: {date}", 304), (f"If-Modified-Since: {past}", 200),
                               ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 200),
                               ("If-Modified-Since: Sun Nov  6 08:49:37 1994", 200),
                               ("If-Modified-Since: Fri, 31 Dec 2066 08:49:37 GMT", 304),
                               ("If-Modified-Since: yesterday", 200), (f"If-None-Match: {tag}", 304),
                               (f'If-None-Match: "a", W/{tag}', 304), ("If-None-Match: *", 304),
                               ('If-None-Match: "a"', 200), (f"If-Match: {tag}", 200), ('If-Match: "a"', 412),
                               (f"If-Match: W/{tag}", 412), (f"If-Unmodified-Since: {past}", 412),
                               (f"If-Unmodified-Since: {date}", 200)):
            reply = get(server, "/f12.txt", header)
            assert reply.status == status, f"{reply.status} with {header}"
            if status == 304:
                assert reply.headers["etag"] == tag and reply.headers["last-modified"] == date
        reply = get(server, "/f12.txt", f"If-Modified-Since: {date}", 'If-None-Match: "other"')
        assert reply.status == 200  # RFC 9110, 13.2.2: the tag decides


@test
def errors_say_what_is_wrong(program):
    long_path = "/" + "a" * 2000
    with Server(program) as server:
        for data, status in ((request("/none"), 404), (request(long_path), 414),
                             (request("/" + "a" * 20000), 414), (request("/", headers=["X: " + "a" * 20000]), 431),
                             (request("/", headers=[f"X{i}: y" for i in range(5000)]), 431),
                             (request("/", "POST", ["Content-Length: 3"]) + b"abc", 405),
                             (request("/", "DELETE"), 405), (request("/", "BREW"), 501),
                             (request("/", "POST", ["Content-Length: 100000"]), 413),
                             (request("/", "POST", ["Content-Length: 99999999999999999999999"]), 400),
                             (request("/", "POST", ["Content-Length: 3", "Transfer-Encoding: chunked"]), 400),
                             (request("/", headers=["Host: again"]), 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
                             (request("/", version="2.0"), 505), (request("/", version="1.9"), 505),
                             (request("/", version="3.7"), 505), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                             (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", 400), (b"get / HTTP/1.1\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400)):
            if status in (404, 405, 414) and len(data) < 4000:
                data = data.replace(b"Host: test", b"Host: test\r\nConnection: close")
            expect_status(server, data, status)
        assert get(server, "/", method="POST").headers["allow"] == "GET, HEAD"
        assert get(server, "/f12.txt").status == 200


@test
def requests_in_a_row_are_answered_in_order(program):
    """Pipelined: in one piece, byte by byte, in random pieces; bodies are skipped."""
    source = random.Random(SEED)
    names = [f"f{size}.txt" for size in SIZES if size <= 100000] * 3
    source.shuffle(names)
    parts = []
    for i, name in enumerate(names):
        parts.append((request(f"/{name}"), 200, content(name)))
        if i % 5 == 0:
            parts.append((request("/none"), 404, None))
        if i % 7 == 0:
            parts.append((request("/", "PUT", ["Content-Length: 5"]) + b"GET /", 405, None))
            parts.append((request("/f1.txt", headers=["Transfer-Encoding: chunked"]) +
                          b"3\r\nabc\r\n0\r\n\r\n", 200, content("f1.txt")))
    data = b"".join(part[0] for part in parts) + request("/f1.txt", close=True)

    def pieces(how):
        at = 0
        while at < len(data):
            size = {"whole": len(data), "bytes": 1, "random": source.randrange(1, 200)}[how]
            yield data[at:at + size]
            at += size

    def send(s, how):
        for piece in pieces(how):
            s.sendall(piece)

    with Server(program) as server:
        for how in ("whole", "bytes", "random"):
            with server.connect() as s, s.makefile("rb") as stream:
                sender = threading.Thread(target=send, args=(s, how))
                sender.start()
                for data_sent, status, body in parts:
                    reply = read_reply(stream)
                    assert reply is not None and reply.status == status, f"{how}: {data_sent[:40]!r}"
                    assert body is None or reply.body == body, f"{how}: {data_sent[:40]!r}"
                assert read_reply(stream).headers["connection"] == "close"
                assert stream.read() == b""
                sender.join()


@test
def old_clients(program):
    with Server(program) as server:
        reply = exchange(server, request("/f12.txt", version="1.0"))
        assert reply.status == 200 and reply.headers["connection"] == "close"
        with server.connect() as s, s.makefile("rb") as stream:
            for _ in range(3):
                s.sendall(b"GET /f12.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert read_reply(stream).headers["connection"] == "keep-alive"
        reply = exchange(server, request("/f12.txt", headers=["Expect: 100-continue", "Content-Length: 9"]))
        assert reply.status == 200  # without waiting for the body


@test
def a_file_that_changes_is_noticed(program):
    path = os.path.join(ROOT, "changing.txt")
    with Server(program, "--fresh-ms", "50") as server:
        for i in range(4):
            text = f"version {i} ".encode() * (i + 1)
            with open(path + ".new", "wb") as f:
                f.write(text)
            os.rename(path + ".new", path)
            time.sleep(0.1)
            assert get(server, "/changing.txt").body == text
        os.truncate(path, 3)  # in place, whatever is still known of it
        assert get(server, "/changing.txt").body == b"ver"
        os.unlink(path)
        time.sleep(0.1)
        assert get(server, "/changing.txt").status == 404
    with Server(program, "--open-files", "0") as server:
        with open(path, "wb") as f:
            f.write(b"anew")
        assert get(server, "/changing.txt").body == b"anew"
        os.unlink(path)
        assert get(server, "/changing.txt").status == 404
        assert server.count_files(ROOT + os.sep) == 0


@test
def slow_requests_end_with_408_and_hold_nobody_up(program):
    with Server(program, "--request-seconds", "0.6", "--idle-seconds", "0.9") as server:
        slow = [server.connect() for _ in range(20)]
        silent, idle = server.connect(), server.connect()
        idle.sendall(request("/f12.txt"))
        start = time.monotonic()
        for beat in range(4):
            for s in slow:
                s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n"[beat * 6:beat * 6 + 6])
            assert get(server, "/f12.txt").status == 200
            time.sleep(0.1)
        for s in slow:
            with s, s.makefile("rb") as stream:
                assert read_reply(stream).status == 408
                assert stream.read() == b""
        with silent:
            assert silent.recv(1) == b""
        with idle, idle.makefile("rb") as stream:
            assert read_reply(stream).status == 200
            assert stream.read() == b""
            assert time.monotonic() - start > 0.8
        server.wait_closed()


@test
def clients_that_never_read_are_cut_off(program):
    with Server(program, "--send-seconds", "0.5") as server:
        deaf = [server.connect() for _ in range(10)]
        for s in deaf:
            s.sendall(request("/big") * 3)
        assert get(server, "/f1048576.txt").body == content("f1048576.txt")
        server.wait_closed()
        for s in deaf:
            s.close()


@test
def resets_anywhere_in_a_response(program):
    source = random.Random(SEED)
    with Server(program) as server:
        whole = len(get(server, "/f12.txt").head) + 12 - len("Connection: close\r\n")
        for count in range(0, whole + 1, 1 if SLOW == 1 else 8):
            s = server.connect()
            s.sendall(request("/f12.txt"))
            s.recv(count) if count else None
            abort(s)
        for _ in range(60):
            s = server.connect()
            s.sendall(request("/big"))
            got = source.randrange(200000)
            while got > 0:
                got -= len(s.recv(min(got, 65536)))
            abort(s)
        for count in range(0, 40):  # half a request, then a reset or an end
            s = server.connect()
            s.sendall(request("/f12.txt")[:count])
            abort(s) if count % 2 else s.close()
        server.wait_closed()
        assert get(server, "/f12.txt").body == content("f12.txt")


@test
def garbage_is_answered_or_dropped(program):
    source = random.Random(SEED)
    valid = request("/f12.txt", headers=["Range: bytes=1-2", "If-None-Match: \"a\""])
    with Server(program, "--request-seconds", "2") as server:
        for round_number in range(300 // SLOW):
            if round_number % 2:
                data = source.randbytes(source.randrange(1, 3000))
            else:
                damaged = bytearray(valid * 3)
                for _ in range(source.randrange(1, 6)):
                    damaged[source.randrange(len(damaged))] = source.randrange(256)
                data = bytes(damaged)
            with server.connect() as s, s.makefile("rb") as stream:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    reply = read_reply(stream)
                    assert reply is None or 200 <= reply.status <= 505
        endless = server.connect()  # a header that never ends
        with endless, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            endless.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(64):
                endless.sendall(b"a" * 65536)
            raise AssertionError("4 MiB of a header were taken")
        assert get(server, "/f12.txt").status == 200


@test
def connections_beyond_the_limit_get_503(program):
    with Server(program, "--connections", "20") as server:
        held = [server.connect() for _ in range(20)]
        for s in held:
            s.sendall(request("/f12.txt"))
            with s.makefile("rb") as stream:
                assert read_reply(stream).status == 200
        crowd = [server.connect() for _ in range(300 // SLOW)]
        for s in crowd:
            s.sendall(request("/f12.txt"))
        for s in crowd:
            with s, s.makefile("rb") as stream:
                assert read_reply(stream).status == 503
                assert stream.read() == b""
        for s in held:  # they were served all the while
            s.sendall(request("/f12.txt"))
            with s.makefile("rb") as stream:
                assert read_reply(stream).status == 200
            s.close()
        server.wait_closed()
        assert get(server, "/f12.txt").status == 200


@test
def out_of_descriptors(program):
    with Server(program, files_max=48) as server:
        held = [server.connect() for _ in range(100)]
        for s in held:
            s.sendall(request("/f1.txt"))
        answered = 0
        for s in held[:15]:
            with s.makefile("rb") as stream:
                assert read_reply(stream).status in (200, 503)
                answered += 1
        assert answered == 15
        for s in held:
            abort(s)
        server.wait_closed()
        assert get(server, "/f12.txt").body == content("f12.txt")


@test
def a_file_cut_or_removed_during_its_transfer(program):
    path = os.path.join(ROOT, "victim")
    with Server(program) as server:
        for how in ("cut", "removed"):
            shutil.copyfile(os.path.join(ROOT, "big"), path)
            time.sleep(0.15)
            with server.connect() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                s.sendall(request("/victim"))
                first = s.recv(1000)
                os.truncate(path, BIG_BYTES // 2) if how == "cut" else os.unlink(path)
                assert get(server, "/f12.txt").status == 200
                total = len(first)
                while data := s.recv(1 << 20):
                    total += len(data)
                    if total > BIG_BYTES:
                        break
                if how == "cut":
                    assert BIG_BYTES // 2 <= total < BIG_BYTES, total
                else:
                    assert total > BIG_BYTES, total
        time.sleep(0.15)
        assert get(server, "/victim").status == 404


@test
def the_end_lets_requests_finish(program):
    with Server(program) as server:
        idle, half, reading = server.connect(), server.connect(), server.connect()
        for s in (idle, reading):
            s.sendall(request("/f12.txt"))
            with s.makefile("rb") as stream:
                read_reply(stream)
        half.sendall(b"GET /f12.txt HTTP/1.1\r\n")
        reading.sendall(request("/big"))
        total = len(reading.recv(1000))
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        with idle:
            assert idle.recv(1) == b""  # at once: its server still runs
        time.sleep(0.1)
        assert server.process.poll() is None
        half.sendall(b"Host: x\r\n\r\n")
        with half, half.makefile("rb") as stream:
            reply = read_reply(stream)
            assert reply.status == 200 and reply.headers["connection"] == "close"
        with reading:
            while data := reading.recv(1 << 20):
                total += len(data)
        assert total > BIG_BYTES
        assert server.end(signal.SIGTERM) < 5 * SLOW


@test
def the_end_does_not_wait_for_ever(program):
    with Server(program, "--drain-seconds", "0.4") as server:
        with server.connect() as deaf, server.connect() as half:
            deaf.sendall(request("/big"))
            half.sendall(b"GET /")
            time.sleep(0.2)
            took = server.end(signal.SIGINT)
            assert 0.3 < took < 3 * SLOW, took


@test
def the_log_has_a_line_for_each_request(program):
    path = os.path.join(SCRATCH, "access.log")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with Server(program, "--log", path, "--stats") as server:
        with server.connect() as s, s.makefile("rb") as stream:
            s.sendall(request("/f12.txt") * 100)
            for _ in range(100):
                read_reply(stream)
        get(server, "/none\xe9")
        get(server, '/no"ne')
        get(server, "/no\x7fne")
        server.wait_closed()
        server.end()
        with open(path, encoding="utf-8") as log:
            lines = log.read().splitlines()
        served = [line for line in lines if re.fullmatch(r'127\.0\.0\.1 \[[^]]+ GMT\] "GET /f12\.txt" 200 12 \d+us', line)]
        assert len(served) == 101, len(served)  # with the one of Server
        assert len(lines) == 104
        for line, part in zip(lines[-3:], ('"GET /none\\xe9" 404 14', '"GET /no\\x22ne" 404 14', '"-" 400 16')):
            assert part in line, line
        match = re.search(r"requests (\d+), 2xx (\d+), 3xx 0, 4xx (\d+), 5xx 0", server.text)
        assert match and match.groups() == ("104", "101", "3"), server.text
        assert "log lines dropped 0" in server.text


@test
def many_clients_at_once(program):
    failures = []

    def client(server, number):
        source = random.Random(SEED + number)
        try:
            with server.connect() as s, s.makefile("rb") as stream:
                for _ in range(40 // SLOW + 1):
                    size = source.choice(SIZES)
                    s.sendall(request(f"/f{size}.txt"))
                    assert read_reply(stream).body == content(f"f{size}.txt")
        except Exception as failure:  # a thread's own would be lost
            failures.append(repr(failure))

    for options in ([], ["--reuse-port"]):
        if options and program != "httpd":
            continue
        with Server(program, *options) as server:
            threads = [threading.Thread(target=client, args=(server, i)) for i in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures, failures[:3]


def make_root():
    source = random.Random(SEED)
    for size in SIZES:
        with open(os.path.join(ROOT, f"f{size}.txt"), "wb") as f:
            f.write(source.randbytes(size))
    with open(os.path.join(ROOT, "big"), "wb") as f:
        for _ in range(BIG_BYTES >> 20):
            f.write(source.randbytes(1 << 20))
    for folder in ("", "sub"):
        os.makedirs(os.path.join(ROOT, folder), exist_ok=True)
        with open(os.path.join(ROOT, folder, "index.html"), "w", encoding="utf-8") as f:
            f.write(f"<title>{folder}</title>")
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


def main():
    only = os.environ.get("SPG_TEST_ONLY")
    chosen = [(program, function) for program in ("httpd", "httpd_pthread") for function in tests
              if only is None or function.__name__ == only]
    failed = 0
    print(f"1..{len(chosen)}", flush=True)
    for number, (program, function) in enumerate(chosen, 1):
        try:
            function(program)
            verdict = "ok"
        except Exception:
            traceback.print_exc()
            verdict = "not ok"
            failed += 1
        print(f"{verdict} {number} - {program}: {function.__name__}", flush=True)
    return 1 if failed else 0


with tempfile.TemporaryDirectory(prefix="test_httpd.") as SCRATCH:
    ROOT = os.path.join(SCRATCH, "root")
    os.mkdir(ROOT)
    make_root()
    result = main()
sys.exit(result)
