"""How long what is written to a disk waits for others."""

import pytest

from tests.nbd.conftest import Bank
from tidelog.gateways.nbd.writer import LINGER, open_writer
from tidelog.testing.readiness import wait_until


@pytest.mark.parametrize(("configured", "expected"), [({}, LINGER), ({"linger": 0.002}, 0.002), ({"linger": 9}, 9)])
def test_longer_than_elsewhere_unless_it_is_configured(
    bank: Bank, configured: dict[str, float], expected: float
) -> None:
    deployment = bank.running.deployment
    writer = deployment.config.writer
    assert writer.linger < LINGER and "linger" not in writer.model_fields_set
    fields = {name: getattr(writer, name) for name in writer.model_fields_set} | configured
    deployment.config = deployment.config.model_copy(update={"writer": type(writer)(**fields)})
    group = open_writer(deployment, "bank")
    try:
        assert group.session._settings.linger == expected
        group.volume("ledger").write(0, b"x")
        end = group.session.confirmed.sequence
        if expected < 1:
            assert wait_until(lambda: group.session.confirmed.sequence > end, timeout_s=60)
        else:
            assert not wait_until(lambda: group.session.confirmed.sequence > end, timeout_s=0.5)
    finally:
        group.abandon()
