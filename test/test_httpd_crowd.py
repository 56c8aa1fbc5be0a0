#!/usr/bin/env python3
"""httpd and its twin before thousands of clients at once. Prints TAP.

What is set from outside: test/httpd.py.
"""
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, "test")
from crowd import Crowd, Rounds
from httpd import PATIENCE_S, SLOW, Server, file_content, main, need_files, request, test, test_of_httpd

# Sanitizers keep much for each coroutine, ThreadSanitizer has no room for so many.
HELD = 8000 if SLOW == 1 else 500
OFFERED = 10000 if SLOW == 1 else 1000
LIMIT = 100
ARRIVALS_PER_S = 50
ARRIVALS = 5 * ARRIVALS_PER_S
ASKED_AT_ONCE = 64
OTHER_FILES = 200
ASK = request("/f12.txt")
WELL = [(200, file_content(12))]


def hold(crowd, count):
    """So many connections, each of which has had an answer."""
    clients = [crowd.add(ASK) for _ in range(count)]
    crowd.run(lambda: all(client.answers or client.closed for client in clients), 4 * PATIENCE_S)
    refused = [client for client in clients if client.answers != WELL]
    assert not refused, f"{len(refused)} were not served, one: {refused[0].closed} {refused[0].answers}"
    return clients


@test_of_httpd
def eight_thousand_are_held_and_served_while_others_come(program):
    """Fifty new ones a second, by the clock, whatever the server does. Nobody is refused or ended."""
    need_files(HELD + ARRIVALS + OTHER_FILES)
    with Server(program, "--connections", str(HELD + ARRIVALS), "--stats") as server:
        with Crowd(server.address) as crowd:
            rounds = Rounds(crowd, hold(crowd, HELD), ASK, WELL, ASKED_AT_ONCE)
            start, arrived = time.monotonic(), []

            def step():
                due = min(ARRIVALS, int((time.monotonic() - start) * ARRIVALS_PER_S))
                while len(arrived) < due:
                    arrived.append(crowd.add(ASK))
                rounds.step()

            crowd.run(lambda: len(arrived) == ARRIVALS and rounds.served >= HELD and
                      all(client.answers or client.closed for client in arrived), 6 * PATIENCE_S, step)
            assert not rounds.wrong, f"{len(rounds.wrong)} that are held were ended or answered wrongly"
            well = [client for client in arrived if client.answers == WELL and not client.closed]
            assert len(well) == ARRIVALS, f"{len(well)} of {ARRIVALS} were served"
            assert server.count_files("socket:") == HELD + ARRIVALS + server.listeners
        server.wait_closed()
        server.check_files()
        server.end()
        assert server.count("rejected") == server.count("timeouts") == server.count("cut short") == 0


@test
def ten_thousand_are_offered_where_a_hundred_may_be(program):
    """Each of the others gets 503, and the hundred are served all the while. Twice: nothing grows."""
    need_files(OFFERED + LIMIT + OTHER_FILES)
    with Server(program, "--connections", str(LIMIT), "--stats") as server:
        sizes = []
        with Crowd(server.address) as crowd:
            rounds = Rounds(crowd, hold(crowd, LIMIT), ASK, WELL, ASKED_AT_ONCE)
            for _ in range(2):
                before = rounds.served
                offered = [crowd.add(ASK) for _ in range(OFFERED)]
                crowd.run(lambda: all(client.closed for client in offered), 4 * PATIENCE_S, rounds.step)
                odd = [client for client in offered if (client.closed, client.answers) != ("end", [(503, b"")])]
                assert not odd, f"{len(odd)} had another answer, one: {odd[0].closed} {odd[0].answers}"
                assert not rounds.wrong, f"{len(rounds.wrong)} that are held were ended or answered wrongly"
                assert rounds.served > before + LIMIT // 2, f"{rounds.served - before} were served meanwhile"
                sizes.append(server.rss_bytes())
        server.wait_closed()
        server.check_files()
        server.end()
        assert server.count("rejected") == 2 * OFFERED
        assert SLOW > 1 or sizes[1] - sizes[0] < 1 << 20, f"resident bytes: {sizes}"


sys.exit(main())
