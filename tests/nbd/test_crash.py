"""SIGKILL of a server while a client writes and flushes: what was flushed is there, at both sites."""

import random
import threading
import time

import pytest

from tests.cli.operating import Operator
from tests.nbd.client import FLUSH, FUA, WRITE, Client
from tests.nbd.conftest import Serve
from tidelog.gateways.library import open_site
from tidelog.testing.readiness import wait_until

pytestmark = pytest.mark.servers

BLOCK, BLOCKS = 4096, 256
KILLS = 4


class Diary:
    """What each block may hold: what was flushed last, or anything that was written since."""

    def __init__(self) -> None:
        self.flushed: dict[int, bytes] = {}
        self.since: list[tuple[int, bytes]] = []  # in the order of writing

    def all_flushed(self) -> None:
        self.flushed.update(self.since)
        self.since.clear()

    def check(self, content: bytes) -> None:
        """Of the writes since the last flush a prefix may be there, each as a whole."""
        held = {block: content[block * BLOCK : (block + 1) * BLOCK] for block in range(BLOCKS)}
        expected = dict.fromkeys(range(BLOCKS), bytes(BLOCK)) | self.flushed
        if held == expected:
            return
        for block, data in self.since:
            expected[block] = data
            if held == expected:
                return
        wrong = [block for block in held if held[block] != expected[block]]
        raise AssertionError(
            f"blocks {wrong} hold what no prefix of the writes has left; flushed: {self.flushed.keys()}"
        )

    def after_a_crash(self, content: bytes) -> None:
        """What is there now is what there is."""
        self.flushed = {block: content[block * BLOCK : (block + 1) * BLOCK] for block in range(BLOCKS)}
        self.since.clear()


def write_until_it_is_gone(client: Client, diary: Diary, rnd: random.Random, flushes: list[int]) -> None:
    """One command after the other; every few a flush, or a write with FUA, which is one of all before it, too."""
    try:
        for number in range(1_000_000):
            if rnd.random() < 0.15:
                assert client.call(FLUSH).error == 0
                diary.all_flushed()
                flushes.append(number)
                continue
            block, durable = rnd.randrange(BLOCKS), rnd.random() < 0.1
            data = (b"%016d" % rnd.getrandbits(50)) * (BLOCK // 16)
            diary.since.append((block, data))
            assert client.call(WRITE, block * BLOCK, BLOCK, data, FUA if durable else 0).error == 0
            if durable:
                diary.all_flushed()
                flushes.append(number)
    except ConnectionError:
        pass


def test_a_killed_server_loses_nothing_that_was_flushed(operator: Operator, serve: Serve, bank_of_its_own: str) -> None:
    """At any moment; the next server is started at once, and shows it; so does the other site."""
    rnd, diary = random.Random(6), Diary()
    flushes: list[int] = []
    for turn in range(KILLS):
        server = serve(name=f"turn-{turn}").ready()
        with server.opened() as client:
            content = client.read(0, BLOCK * BLOCKS)
            diary.check(content)
            diary.after_a_crash(content)
            flushes.clear()
            writing = threading.Thread(target=write_until_it_is_gone, args=(client, diary, rnd, flushes))
            writing.start()
            assert wait_until(lambda: len(flushes) > 3, 60)
            time.sleep(rnd.random() * 0.2)  # anywhere
            server.command.popen.kill()
            writing.join(60)
            assert not writing.is_alive()
        server.command.popen.wait()
    last = serve(name="last").ready()
    with last.opened() as client:
        content = client.read(0, BLOCK * BLOCKS)
        diary.check(content)
        client.flush()
    with open_site("osaka", operator.config) as osaka:
        there = osaka.group(bank_of_its_own).volume("ledger")
        assert wait_until(lambda: there.read(0, BLOCK * BLOCKS) == content, 60)
