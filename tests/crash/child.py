"""A writer or a worker that kills itself, by SIGKILL, at a marked point: run as a process by test_sigkill.py and, with
the points of cuts.py, by test_cut.py.

    python child.py writer|worker CONFIG GROUP POINT NTH

Points are set by wrapping methods here, so that the product carries no test hooks. The writer prints one line for each
flush that returned: the number of the last write it covers.
"""

import os
import signal
import sys
from typing import Any

from tests.crash import cuts
from tidelog.config import Config
from tidelog.consumers import worker as worker_module
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.receipts import Receipts
from tidelog.producers.confirmation import Confirmations
from tidelog.producers.kafka_appender import KafkaAppender
from tidelog.producers.session import WriterSession
from tidelog.schemas.codec import Codec
from tidelog.stores.applier import Applier
from tidelog.stores.redis_keyspace import RedisSession

BLOCK = 4096
WRITES_PER_FLUSH = 7
BLOCKS = 64

# point -> (class, method): killed before the nth call, or after it.
POINTS: dict[str, tuple[type, str]] = {
    "encode": (Codec, "encode"),
    "send": (KafkaAppender, "send"),
    "acknowledged": (Confirmations, "acknowledged"),
    "flush": (WriterSession, "flush"),
    "emit": (WriterSession, "emit"),  # volume events, markers, drops
    "decode": (Codec, "decode"),
    "submit": (Applier, "submit"),
    "transaction": (RedisSession, "submit"),
    "settle": (RedisSession, "settle"),
    "maintain": (Applier, "maintain"),
    "receipt": (Receipts, "_answer"),
}


def kill_at(point: str, nth: int) -> None:
    """Arms ``before-NAME`` or ``after-NAME``: SIGKILL at the nth call of that method in this process."""
    when, _, name = point.partition("-")
    cls, method = POINTS[name]
    original = getattr(cls, method)
    calls = [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls[0] == nth and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(cls, method, wrapped)


def content(number: int) -> bytes:
    """What write ``number`` writes: a block that says so, all over."""
    return number.to_bytes(8, "big") * (BLOCK // 8)


def write(config: Config, group_name: str) -> None:
    """Goes on from what the volume says, until it is killed: writes, flushes, a marker now and then, and drops."""
    with open_group(group_name, config) as group:
        volume = group.create_volume("data", BLOCK * BLOCKS)
        number = max(int.from_bytes(volume.read(block * BLOCK, 8), "big") for block in range(BLOCKS))
        marks = []
        while True:
            for _ in range(WRITES_PER_FLUSH):
                number += 1
                volume.write(number % BLOCKS * BLOCK, content(number))
            group.flush()
            print(number, flush=True)
            if number % 3 == 0:
                marks.append(f"copy-{number}")
                group.mark(marks[-1])
                if len(marks) > 3:
                    group.drop_copy(marks.pop(0))


def work(config: Config, group_name: str) -> None:
    """A site worker for osaka, until it is killed."""
    deployment = RealDeployment(config)
    worker_module.SiteWorker(deployment, "osaka", SoleWorker, [group_name]).run()


def main() -> None:
    role, path, group, point, nth = sys.argv[1:]
    config = Config.load(path)
    if point in (*cuts.WRITER_POINTS, *cuts.WORKER_POINTS):
        cuts.arm(point, int(nth))
    else:
        kill_at(point, int(nth))
    (write if role == "writer" else work)(config, group)


if __name__ == "__main__":
    main()
