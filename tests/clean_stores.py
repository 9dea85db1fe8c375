"""The session's Redis servers are shared by all tests: one that must use a fixed group name takes the group out of them
before and after, so that no order of tests matters."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis

KEYS_AT_ONCE = 1000


def forget_group(urls: Iterable[str], group: str) -> None:
    """Deletes what these Redis servers hold of the group."""
    for url in urls:
        with redis.Redis.from_url(url) as server:
            found = server.scan_iter(f"tidelog:{{{group}}}:*", count=10_000)
            while keys := list(itertools.islice(found, KEYS_AT_ONCE)):  # one by one, 256 MiB of blocks took 20 s
                server.unlink(*keys)


@contextmanager
def group_of_its_own(urls: Iterable[str], group: str) -> Iterator[None]:
    """Inside, no other test's group of that name is there; nothing of it stays."""
    there = tuple(urls)
    forget_group(there, group)
    try:
        yield
    finally:
        forget_group(there, group)
