"""``every`` and ``keep`` of a group: what can be, and what is said about what cannot."""

from pathlib import Path

import pytest

from tidelog.config import Config, KeepConfig
from tidelog.config_tables import KeepRules
from tidelog.errors import ConfigError


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    path = folder / "tidelog.toml"
    path.write_text(f"[groups.bank]\n{text}\n")
    return Config.load(path, environ or {})


def test_a_schedule_and_what_it_keeps(tmp_path: Path) -> None:
    """As README and docs write it."""
    bank = load(tmp_path, 'every = "15m"\nkeep = {last = 10, hourly = 24, daily = 7, named = true}').groups["bank"]
    assert bank.every == 900
    assert bank.keep == KeepConfig(last=10, hourly=24, daily=7, weekly=0, monthly=0, named=True)


def test_without_keep_nothing_is_dropped(tmp_path: Path) -> None:
    """A schedule alone is a configuration."""
    assert load(tmp_path, 'every = "1d"').groups["bank"].keep is None


def test_the_environment_sets_both(tmp_path: Path) -> None:
    """With two underscores, as everything else."""
    environ = {"TIDELOG_GROUPS__BANK__EVERY": "1h", "TIDELOG_GROUPS__BANK__KEEP__LAST": "3"}
    config = load(tmp_path, "", environ)
    assert config.groups["bank"].every == 3600 and config.groups["bank"].keep == KeepConfig(last=3)
    shown = {setting.key: (setting.value, setting.origin) for setting in config.describe()}
    assert shown["groups.bank.keep.last"] == (3, "TIDELOG_GROUPS__BANK__KEEP__LAST")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('every = "0s"', "groups.bank.every"),
        ("every = -1", "groups.bank.every"),
        ('every = "500ms"', "greater than or equal to 1"),
        ('every = "often"', "a duration is"),
        ("keep = {last = 1}", "needs every"),
        ('every = "1h"\nkeep = {last = -1}', "groups.bank.keep.last"),
        ('every = "1h"\nkeep = {hourly = 1.5}', "groups.bank.keep.hourly"),
        ('every = "1h"\nkeep = {}', "every copy but the newest"),
        ('every = "1h"\nkeep = {last = 0, daily = 0}', "every copy but the newest"),
        ('every = "1h"\nkeep = {named = true}', "every copy but the newest"),
        ('every = "1h"\nkeep = {dayly = 1}', "unknown setting groups.bank.keep.dayly"),
        ('every = "1h"\nkeep = 5', "groups.bank.keep"),
    ],
)
def test_what_cannot_be(tmp_path: Path, text: str, says: str) -> None:
    """Named by its key, with the reason."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert says in str(refused.value), str(refused.value)


def test_archives_and_a_sites_own_retention(tmp_path: Path) -> None:
    """Absolute folders and URLs; a site may keep copies by other rules than the group."""
    site = (
        '[sites.osaka]\nkeep = {last = 3, daily = 7}\narchive = "s3://bucket/osaka"\nredis = {url = "redis://osaka"}\n'
    )
    config = load(tmp_path, f'archive = "/srv/archive"\n{site}')
    assert config.groups["bank"].archive == "/srv/archive"
    assert config.sites["osaka"].keep == KeepRules(last=3, daily=7)
    assert config.sites["osaka"].archive == "s3://bucket/osaka"
    environ = {"TIDELOG_SITES__OSAKA__KEEP__LAST": "9", "TIDELOG_SITES__OSAKA__ARCHIVE": "file:///elsewhere"}
    changed = load(tmp_path, site, environ).sites["osaka"]
    assert changed.keep is not None and (changed.keep.last, changed.archive) == (9, "file:///elsewhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('archive = "archive"', "absolute folder"),
        ('archive = ""', "absolute folder"),
        ('archive = "s3://key:secret@bucket/folder"', "credentials"),
        ("archive = 5", "groups.bank.archive"),
        ('[sites.osaka]\nkeep = {}\nredis = {url = "redis://osaka"}', "every copy but the newest"),
        ('[sites.osaka]\nkeep = {named = true, last = 1}\nredis = {url = "redis://osaka"}', "sites.osaka.keep.named"),
        ('[sites.osaka]\narchive = "archive"\nredis = {url = "redis://osaka"}', "sites.osaka.archive"),
    ],
)
def test_what_cannot_be_of_archives(tmp_path: Path, text: str, says: str) -> None:
    """Named by its key, with the reason; and no secret is told."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert says in str(refused.value), str(refused.value)
    assert "secret" not in str(refused.value)
