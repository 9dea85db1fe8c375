"""Whatever becomes of an export's files, it is found, the file is named, and nothing of it gets into a site."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exports.conftest import ignore
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.errors import ExportDamaged, NotFound, UsageError
from tidelog.gateways.exports import manifest as manifests
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of

LEDGER, LATE = "ledger.0000.avro", "late.0000.avro"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good export, made once for the module."""
    return {"folder": tmp_path_factory.mktemp("exports")}


@pytest.fixture
def place(kept: dict[str, Path], request: pytest.FixtureRequest, deployment: MemoryDeployment, tmp_path: Path) -> Path:
    """A copy of it to do harm to; there is a group that it is of."""
    good = kept["folder"] / "good"
    if good.exists():
        deployment.cluster.create_group("bank")
    else:
        request.getfixturevalue("export")("two", str(good))
    return Path(shutil.copytree(good, tmp_path / "harmed"))


def truncate(size: int) -> Callable[[Path], None]:
    def harm(place: Path) -> None:
        with (place / LEDGER).open("r+b") as file:
            file.truncate(size if size >= 0 else (place / LEDGER).stat().st_size + size)

    return harm


def flip(at: float) -> Callable[[Path], None]:
    def harm(place: Path) -> None:
        content = bytearray((place / LEDGER).read_bytes())
        content[int(at * (len(content) - 1))] ^= 4
        (place / LEDGER).write_bytes(content)

    return harm


def swap(place: Path) -> None:
    (place / LEDGER).rename(place / "aside")
    (place / LATE).rename(place / LEDGER)
    (place / "aside").rename(place / LATE)


def drop(place: Path) -> None:
    (place / LEDGER).unlink()


def append(place: Path) -> None:
    with (place / LEDGER).open("ab") as file:
        file.write(b"more")


def folder(place: Path) -> None:
    (place / LEDGER).unlink()
    (place / LEDGER).mkdir()


HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "emptied": (truncate(0), "truncated: 0 of"),
    "torn": (truncate(-1), "truncated"),
    "half": (truncate(400), "truncated: 400 of"),
    **{f"bit-{at}": (flip(at), "its bytes were changed") for at in (0, 0.02, 0.2, 0.5, 0.9, 1)},
    "swapped": (swap, f"it is {LATE} under this name"),
    "dropped": (drop, "it is missing"),
    "longer": (append, "bytes, and"),
    "folder": (folder, "it is missing"),
}


@pytest.mark.parametrize("how", HARMS)
def test_every_harm_is_found_and_the_file_is_named(how, place, bring, deployment):
    harm, says = HARMS[how]
    harm(place)
    where = place_of(str(place))
    problems = {found.file: found.problem for found in check_export(where, read_manifest(where), ignore).problems}
    assert says in problems[LEDGER]
    assert problems.keys() == ({LEDGER, LATE} if how == "swapped" else {LEDGER})
    with pytest.raises(ExportDamaged, match=r"ledger\.0000\.avro"):
        bring(str(place))
    with pytest.raises(NotFound):
        open_store(deployment, "osaka", "bank")


def edited(**changes: object) -> Callable[[dict[str, object]], None]:
    return lambda document: document.update(changes)


def resum(document: dict[str, object]) -> None:
    """What somebody would do who means it."""
    document.pop("checksum", None)
    document["checksum"] = manifests._checksum(document)


def deeper(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, object]], None]:
    def edit(document: dict[str, object]) -> None:
        change(document)
        resum(document)

    return edit


def rename_file(name: str) -> Callable[[dict[str, object]], None]:
    def edit(document: dict[str, object]) -> None:
        document["volumes"][0]["files"][0]["name"] = name

    return deeper(edit)


def first_volume(**changes: object) -> Callable[[dict[str, object]], None]:
    def edit(document: dict[str, object]) -> None:
        document["volumes"][0].update(changes)

    return deeper(edit)


EDITS: dict[str, tuple[Callable[[dict[str, object]], None], str]] = {
    "edited": (edited(group="orders"), "its checksum does not match"),
    "no checksum": (lambda document: document.pop("checksum"), "its checksum does not match"),
    "another format": (edited(format="tar"), "does not say that it is a tidelog export"),
    "leads out": (rename_file("../ledger.0000.avro"), "cannot be '../ledger.0000.avro'"),
    "absolute": (rename_file("/etc/passwd"), "cannot be '/etc/passwd'"),
    "another part": (rename_file("ledger.0001.avro"), "cannot be 'ledger.0001.avro'"),
    "volume leads out": (first_volume(name="../x"), "no name for a volume"),
    "block size": (first_volume(block_size=1000), "cannot have size"),
    "size": (first_volume(size=-1), "cannot have size"),
    "twice": (deeper(lambda document: document["volumes"].append(document["volumes"][0])), "a volume twice"),
    "unknown field": (deeper(edited(parts=[])), "parts"),
    "a field of another type": (first_volume(id="2"), "volumes.0.id"),
    "no digest": (first_volume(digest="abc"), "volumes.0.digest"),
}


@pytest.mark.parametrize("how", EDITS)
def test_an_edited_manifest_is_found(how, place, bring):
    edit, says = EDITS[how]
    path = place / "manifest.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ExportDamaged) as refused:
        read_manifest(place_of(str(place)))
    assert says in str(refused.value) and "manifest.json" in str(refused.value)
    with pytest.raises(ExportDamaged):
        bring(str(place))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_manifest_that_is_none(place, content):
    (place / "manifest.json").write_bytes(content)
    with pytest.raises(ExportDamaged, match=r"manifest\.json"):
        read_manifest(place_of(str(place)))


def test_a_later_version_is_not_guessed_at(place):
    path = place / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 3}))
    with pytest.raises(UsageError, match="version 3"):
        read_manifest(place_of(str(place)))


def test_without_a_manifest_there_is_no_export(place, tmp_path):
    (place / "manifest.json").unlink()
    for where in (place, tmp_path / "nothing", place / LEDGER):
        with pytest.raises(UsageError, match="no export"):
            read_manifest(place_of(str(where)))


@pytest.mark.parametrize("what", ["digest", "checksum of another", "blocks"])
def test_a_manifest_that_lies_with_a_right_checksum_is_found_by_the_blocks(place, bring, deployment, what):
    """Who forges the checksums too must still find blocks for the digest."""
    path = place / "manifest.json"
    document = json.loads(path.read_text())
    ledger = next(volume for volume in document["volumes"] if volume["name"] == "ledger")
    if what == "digest":
        ledger["files"][0]["digest"] = "00" * 16
    elif what == "blocks":
        ledger["files"][0]["blocks"] += 1
    else:
        late = next(volume for volume in document["volumes"] if volume["name"] == "late")
        shutil.copy(place / LATE, place / LEDGER)
        for field in ("size", "checksum", "blocks"):
            ledger["files"][0][field] = late["files"][0][field]
    resum(document)
    path.write_text(json.dumps(document))
    where = place_of(str(place))
    problems = check_export(where, read_manifest(where), ignore).problems
    assert [found.file for found in problems] == [LEDGER]
    if what == "digest":  # the bytes are good: the import looks at the copy's digest, and that is right
        bring(str(place))
        return
    with pytest.raises(ExportDamaged):
        bring(str(place))
    assert open_store(deployment, "osaka", "bank").rebuilding() is not None
