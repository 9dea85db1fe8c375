"""docs/configuration.md names every setting, and its example is a configuration."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from tidelog.config import Config

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def settings(model: type[BaseModel]) -> list[str]:
    """The names of all fields, those of the tables inside included; the twins ``..._file`` are said once for all."""
    names = []
    for name, field in model.model_fields.items():
        names.append(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                names += settings(part)
    return [name for name in names if not (name.endswith("_file") and name.removesuffix("_file") in names)]


@pytest.mark.parametrize(
    "name",
    sorted(set(settings(Config)) - {"sites", "groups", "kafka", "writer", "worker", "http", "metrics", "redis"}),
)
def test_every_setting_is_documented(name: str) -> None:
    """A setting that the page does not name is not there for a user."""
    assert re.search(rf"`{name}`", PAGE), f"docs/configuration.md does not name {name}"


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """The page's TOML loads as it stands, given the secrets that it names."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "secrets").mkdir()
    for name, text in (("kafka", "pw"), ("redis-osaka", "pw"), ("bank.key", "00" * 32)):
        (tmp_path / "secrets" / name).write_text(text)
    (tmp_path / "tidelog.toml").write_text(example)
    config = Config.load(str(tmp_path / "tidelog.toml"))
    assert config.primary == "tokyo"
    assert config.groups["bank"].key_bytes == bytes(32)
