"""G2 at length: a thousand markers while writers never stop, each copy compared with the log's fold at every site."""

import random
import threading
import time

import pytest

from tests.faults.folded import all_equal
from tests.reference import Reference
from tidelog.producers.volume import Volume
from tidelog.testing.running import RunningDeployment

ROUNDS, MARKERS = 10, 100
SITES = ("tokyo", "osaka")
BLOCK, BLOCKS = 512, 64


def _write_until(stop: threading.Event, volume: Volume, counts: list[int]) -> None:
    chance = random.Random(volume.name)
    while not stop.is_set():
        for _ in range(8):
            offset = chance.randrange(BLOCK * BLOCKS - 600)
            volume.write(offset, chance.randbytes(chance.randrange(1, 600)))
        counts.append(8)
        time.sleep(0.02)  # so that the fold in plain Python takes no longer than the writing


@pytest.mark.servers
@pytest.mark.timeout(1500)
def test_a_thousand_copies_under_load_are_what_the_log_says_at_every_site(
    tidelog_deployment: RunningDeployment,
) -> None:
    for site in SITES:
        tidelog_deployment.site(site)
    group = tidelog_deployment.group("many-markers")
    volumes = [group.create_volume(name, BLOCK * BLOCKS, BLOCK) for name in ("ledger", "journal")]
    stop = threading.Event()
    counts: list[int] = []
    writers = [threading.Thread(target=_write_until, args=(stop, volume, counts)) for volume in volumes]
    for writer in writers:
        writer.start()
    answers: dict[int, dict[str, bytes]] = {}  # sequence -> site -> digest
    try:
        for turn in range(ROUNDS):
            marks = [group.mark(f"copy-{turn}-{number}") for number in range(MARKERS)]
            marks[-1].wait(sites=SITES, timeout=120)
            for mark in marks:
                answers[mark.sequence] = {site: receipt.digest for site, receipt in mark.wait(SITES, 60).items()}
            for mark in marks[:-1]:
                group.drop_copy(mark.name)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(answers) == ROUNDS * MARKERS
    assert sum(counts) > len(answers), "writers wrote between the markers"

    cluster = tidelog_deployment.deployment.cluster
    record = cluster.find_group(group.name)
    log = cluster.log(record)
    reader = log.reader(0)
    values = [(found.offset, found.value) for found in reader.records(log.bounds().end, 30.0)]
    reader.close()
    log.close()
    reference = Reference(record.group_id)
    wrong = []
    for found in values:
        reference.fold([found])
        cut = reference.copies.get(reference.sequence)
        if cut is not None and set(answers.pop(cut.sequence).values()) != {cut.digest}:
            wrong.append(cut.name)
    assert not answers, "every copy that was answered for stands in the log"
    assert not wrong, "these copies are not what the log says, at one site at least"
    all_equal(tidelog_deployment.deployment, group.name, SITES)
