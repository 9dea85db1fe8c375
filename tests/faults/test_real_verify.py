"""A bit flipped in a site's real Redis: found by `pitc verify --against`, and named to the block."""

import json
import uuid
from pathlib import Path

import pytest
import redis

from tests.faults.folded import all_equal
from tidelog.gateways.cli import main
from tidelog.testing.fixtures import SITES
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
BLOCK = 4096


def test_a_flipped_bit_is_found_and_its_extent_named(
    running: RunningDeployment, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a before-image and of a live block that the copy reads; equal sites stay equal."""
    name = f"g-{uuid.uuid4().hex[:12]}"
    group = running.group(name)
    for site in SITES:
        running.wait_for_store(site, name)
    volume = group.create_volume("ledger", "16MiB")
    volume.write(0, bytes(range(1, 256)) * (BLOCK * 3000 // 255))
    marked = group.mark("one")
    volume.write(1234 * BLOCK, b"over what the copy holds" * 200)
    group.flush()
    marked.wait(timeout=60)
    head = group.session.confirmed.sequence
    for site in SITES:
        assert running.site(site).group(name).wait_until(head, 60)
    generation = running.site("osaka").group(name).copy("one").info.generation

    def tidelog(*arguments: str) -> tuple[int, dict[str, object], str]:
        code = main(["-c", str(config_file), *arguments, "-g", name, "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    compare = ("pitc", "verify", "one", "--against", "osaka", "--full")
    code, document, _ = tidelog(*compare)
    assert code == 0 and document["equal"] is True
    number = volume.info.id
    with redis.Redis.from_url(running.deployment.config.sites["osaka"].redis.url) as server:
        for key in (f"g:{generation}:{number}:{1235:08x}", f"b:{number}:{2000:08x}"):
            whole = f"tidelog:{{{name}}}:{key}"
            bit = 8 * 777 + 3
            server.setbit(whole, bit, 1 - server.getbit(whole, bit))
    code, document, err = tidelog(*compare)
    (found,) = document["volumes"]  # type: ignore[misc,attr-defined]
    assert code == 3 and f"{BLOCK} bytes at offset {1235 * BLOCK}" in err
    assert found["first"] == {"offset": 1235 * BLOCK, "length": BLOCK}
    assert document["differing_blocks"] == 2
    code, document, _ = tidelog("pitc", "verify", "one", "--against", "london", "--full")
    assert code == 0 and document["equal"] is True
    all_equal(running.deployment, name, ("tokyo", "london"))
    with pytest.raises(AssertionError):  # it stays damaged, and the fold of the log tells
        all_equal(running.deployment, name, ["osaka"])
