"""The session's Redis servers are shared by all tests: one that must use a fixed group name takes the group out of them
before and after, so that no order of tests matters."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis


def forget_group(urls: Iterable[str], group: str) -> None:
    """Deletes what these Redis servers hold of the group."""
    for url in urls:
        with redis.Redis.from_url(url) as server:
            for key in server.scan_iter(f"tidelog:{{{group}}}:*", count=10_000):
                server.delete(key)


@contextmanager
def group_of_its_own(urls: Iterable[str], group: str) -> Iterator[None]:
    """Inside, no other test's group of that name is there; nothing of it stays."""
    there = tuple(urls)
    forget_group(there, group)
    try:
        yield
    finally:
        forget_group(there, group)
