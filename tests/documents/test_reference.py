"""docs/reference/ is what `make docs` writes."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_as_the_code_has_it(generate: ModuleType) -> None:
    """Written anew, not one is different; and there is no other."""
    assert {path.name for path in (DOCS / "reference").iterdir()} == generate.PAGES.keys()
    for name, make in generate.PAGES.items():
        assert (DOCS / "reference" / name).read_text() == make(), f"docs/reference/{name} is old: make docs"
