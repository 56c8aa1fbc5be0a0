#!/usr/bin/env python3
"""httpd and its twin as their clients see them: what HTTP asks of them, and their options. Prints TAP.

What is set from outside: test/httpd.py.
"""
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, "test")
from httpd import (BIG_BYTES, BUILD, PATIENCE_S, ROOT, SCRATCH, SEED, SIZES, SLOW, Server, content, exchange,
                   expect_status, get, main, read_reply, request, test, test_of_httpd)


@test
def every_byte_of_files_of_all_sizes(program):
    with Server(program) as server:
        for size in SIZES:
            reply = get(server, f"/f{size}.txt")
            assert reply.status == 200 and reply.body == content(f"f{size}.txt"), size
            head = get(server, f"/f{size}.txt", method="HEAD")
            assert head.status == 200 and head.body == b""
            assert head.headers | {"date": ""} == reply.headers | {"date": ""}
            assert int(head.headers["content-length"]) == size
        for target in ("/none", "/sub"):  # errors and redirects too are the same without a body
            reply, head = get(server, target), get(server, target, method="HEAD")
            assert reply.status == head.status and head.body == b"" != reply.body
            assert head.headers | {"date": ""} == reply.headers | {"date": ""}


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
def every_known_ending_has_its_type(program):
    expected = {"a.css": "text/css; charset=utf-8", "a.js": "text/javascript; charset=utf-8", "a.JSON": "application/json",
                "a.min.svg": "image/svg+xml", "a.PnG": "image/png", "a.woff2": "font/woff2", "a.wasm": "application/wasm",
                "no_ending": "application/octet-stream", "a.": "application/octet-stream",
                "a.htmlx": "application/octet-stream", ".txt": "text/plain; charset=utf-8"}
    with open("tools/httpd/mime.c", encoding="utf-8") as source:  # found by bisection: all of them, or it is not sorted
        table = re.findall(r'^\t\{ "(\w+)", "([^"]+)" \},$', source.read(), re.M)
    assert len(table) > 30
    expected |= {"b." + ending: name for ending, name in table}
    types = os.path.join(ROOT, "types.d", program)
    os.makedirs(types)
    with Server(program) as server:
        for name, kind in expected.items():
            with open(os.path.join(types, name), "wb"):
                pass
            got = get(server, f"/types.d/{program}/{name}").headers["content-type"]
            assert got == kind, f"{got} for {name}"


@test
def keep_alive_lasts_until_somebody_ends_it(program):
    with Server(program, "--stats") as server:
        with server.connect() as s, s.makefile("rb") as stream:
            for i in range(1000):
                size = SIZES[i % 5]
                s.sendall(request(f"/f{size}.txt"))
                reply = read_reply(stream)
                assert reply.body == content(f"f{size}.txt") and "connection" not in reply.headers
            s.sendall(request("/f1.txt", headers=["Connection: close"]) + request("/f1.txt"))
            assert read_reply(stream).headers["connection"] == "close"
            assert stream.read() == b""  # what came behind it has no answer
        server.wait_closed()
        server.end()
        assert server.count("connections") == 2 and server.count("requests") == 1002


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
def headers_may_be_so_long_and_no_longer(program):
    for limit in (1024, 5000):
        with Server(program, "--header-bytes", str(limit)) as server:
            empty = len(request("/f12.txt", headers=["X: "], close=True))
            for extra, status in ((0, 200), (1, 431)):
                data = request("/f12.txt", headers=["X: " + "a" * (limit - empty + extra)], close=True)
                assert len(data) == limit + extra
                expect_status(server, data, status)


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
        with contextlib.suppress(ConnectionRefusedError):
            server.connect()
            raise AssertionError("a new connection was taken during the drain")
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


def client(server, number, failures):
    """Files of all sizes, whole and in parts; several read the same file at different places."""
    source = random.Random(SEED + number)
    big = content("big")
    try:
        with server.connect() as s, s.makefile("rb") as stream:
            for _ in range(20 // SLOW + 1):
                size = source.choice(SIZES)
                s.sendall(request(f"/f{size}.txt"))
                assert read_reply(stream).body == content(f"f{size}.txt")
                first = source.randrange(BIG_BYTES - 200000)
                last = first + source.randrange(200000)
                s.sendall(request("/big", headers=[f"Range: bytes={first}-{last}"]))
                assert read_reply(stream).body == big[first:last + 1]
    except Exception as failure:  # a thread's own would be lost
        failures.append(repr(failure))


def serve_many(server):
    failures = []
    threads = [threading.Thread(target=client, args=(server, i, failures)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


@test
def many_clients_at_once(program):
    with Server(program) as server:
        serve_many(server)


@test_of_httpd
def a_listener_for_each_shard(program):
    """They share the port, and the kernel shares the connections out."""
    for shards in (1, 2, 4):
        with Server(program, "--reuse-port", "--stats", shards=shards) as server:
            assert server.listeners == shards
            serve_many(server)
            server.wait_closed()
            server.end()
            assert server.count("connections") == 25 and server.count("shards") == shards
            assert server.count("spawned") > 25


@test
def wrong_options_are_refused(program):
    for options in (["--connections", "0", ROOT], ["--header-bytes", "1", ROOT], ["--idle-seconds", "x", ROOT], [],
                    ["--none", ROOT], [ROOT, ROOT], ["--fresh-ms", "-1", ROOT]) + ((["--reuse-port", ROOT],)
                                                                                    if program != "httpd" else ()):
        done = subprocess.run([os.path.join(BUILD, program), *options], capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 2 and done.stderr, f"{done.returncode} with {options}"
    for options in ([SCRATCH + "/none"], ["--listen", "nonsense", ROOT], ["--listen", "127.0.0.1:0", "--log", "/none/log", ROOT]):
        done = subprocess.run([os.path.join(BUILD, program), *options], capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 1 and done.stderr, f"{done.returncode} with {options}"

sys.exit(main())
