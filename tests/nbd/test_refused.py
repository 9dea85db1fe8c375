"""What `tidelog serve nbd` refuses before it listens, and before anybody is fenced."""

from pathlib import Path

import pytest

from tests.nbd.conftest import Bank
from tidelog.gateways.cli import main

TOML = '[sites.tokyo.redis]\nurl = "redis://memory-tokyo"\n[sites.osaka.redis]\nurl = "redis://memory-osaka"\n'


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--address", "0.0.0.0:10809"), 2, "over TLS alone"),
        (("--address", "192.168.7.7"), 2, "over TLS alone"),
        (("--address", "127.0.0.1:x"), 2, "no HOST:PORT"),
        (("--address", "127.0.0.1:1", "--socket", "x.sock"), 2, "not both"),
        (("--tls-certificates", "nowhere"), 10, "no file"),
        (("--tls-certificates", "x", "--tls-psk", "y"), 2, "not both"),
        (("--socket", "/nowhere/at/all.sock"), 2, "no folder"),
        (("--site", "nowhere"), 2, "no site"),
        (("--group", "nothing"), 2, "nothing"),
    ],
)
def test_what_cannot_be(
    bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, said: str
) -> None:
    config = tmp_path / "tidelog.toml"
    config.write_text(TOML)
    line = ["-c", str(config), "serve", "nbd", "--group", "bank", "--take-over", *options]
    assert main(line, lambda _: _Kept(bank)) == code
    told = " ".join(capsys.readouterr().err.split())
    assert said in told and "Traceback" not in told
    bank.group.flush()


class _Kept:
    """The bank's deployment, which the end of a command does not close."""

    def __init__(self, bank: Bank) -> None:
        self._deployment = bank.running.deployment
        self.config, self.cluster = self._deployment.config, self._deployment.cluster
        self.keyspace = self._deployment.keyspace

    def close(self) -> None:
        pass
