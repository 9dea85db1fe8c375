"""`tidelog pitc verify`: the sites' digests, kept or anew from every block, beside one another and the receipts."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.text import Text

from tidelog.consumers.archives import find_archive
from tidelog.consumers.catalogue import Answer, CatalogueCopy, copies_of
from tidelog.errors import CopiesDiffer, ExportDamaged, NotFound, TidelogError, Unavailable
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import opened_store
from tidelog.gateways.exports.archived import open_archive, verify_archive
from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyArchived
from tidelog.stores.image import Store
from tidelog.stores.store import Copy
from tidelog.units import parse_duration

_TO_COME = (Answer.PENDING, Answer.REBUILDING, Answer.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Verified:
    """What one site's digest is. ``problem`` is why there is none; ``receipt`` what the site has said before."""

    site: str
    copy: Copy | None
    digest: bytes | None
    receipt: bytes | None
    problem: TidelogError | None

    @property
    def keeps_its_word(self) -> bool:
        """Whether the copy is still what the receipt says; True without a receipt."""
        return self.digest is None or self.receipt is None or self.digest == self.receipt


def verify_copy(
    invocation: Invocation, name: str, group: str, sites: list[str] | None, *, full: bool, json: bool
) -> int:
    """0 if every site asked has the copy, all digests are equal, and each is what its receipt says; else 3.

    With ``full`` the digests are computed anew from every block; else they are those that the sites keep, or follow
    from the elder copy's.

    Raises `NotFound` if no site has it, `CopiesDiffer` if the bytes differ.
    """
    found = [_verify_at(invocation, name, group, site, full=full) for site in sites or _asked(invocation, name, group)]
    if all(isinstance(one.problem, NotFound) for one in found):
        raise found[0].problem or NotFound(f"no copy {name}", group=group)
    equal = _equal(found)
    _show(invocation, name, group, found, equal, full=full, json=json)
    if equal is False:
        raise _difference(name, group, found, full=full)
    return OK if equal else DEGRADED


def await_copy(invocation: Invocation, name: str, group: str, sites: list[str] | None, timeout: str) -> None:
    """Until none of ``sites`` (default: all that are configured) is still to show the copy, or ``timeout`` is over,
    which is no error here. Raises `UsageError` for a duration that is none."""
    seconds, wanted = parse_duration(timeout), sites or list(invocation.config.sites)
    if not seconds:
        return

    def answered(view: ControlView) -> bool:
        found = _named(view, name, group, wanted)
        return found is not None and not any(found.answers[site] in _TO_COME for site in wanted)

    invocation.deployment.cluster.control.wait_for(answered, seconds)


def _equal(found: list[Verified]) -> bool | None:
    """As in the catalogue: False if a site's copy is another one, or its digest differs from another site's or from
    its receipt; None while a site that was asked has none to show."""
    shown = {(_identity(one.copy), one.digest) for one in found if one.copy is not None}
    if len(shown) > 1 or not all(one.keeps_its_word for one in found):
        return False
    return True if all(one.problem is None for one in found) else None


def _identity(copy: Copy) -> tuple[int, bytes, str]:
    return copy.sequence, copy.seal, copy.name


def _difference(name: str, group: str, found: list[Verified], *, full: bool) -> CopiesDiffer:
    if len({_identity(one.copy) for one in found if one.copy is not None}) > 1:
        return CopiesDiffer(
            f"{name} names different copies at different sites", group=group, hint="name one by #SEQUENCE"
        )
    broken = [one.site for one in found if not one.keeps_its_word]
    what = "blocks differ" if full else "the digest differs"
    where = f"; {what} from the receipt at {', '.join(broken)}" if broken else ""
    return CopiesDiffer(
        f"the sites' copies {name} are not all what they were{where}", group=group, hint=_way_out(broken, group)
    )


def _way_out(broken: list[str], group: str) -> str:
    if not broken:
        return f"a site applied the log differently; rebuild the wrong one: tidelog site rebuild NAME --group {group}"
    mended = (f"tidelog site resync {site} --from OTHER --group {group}" for site in broken)
    return "mend it by a site that is right: " + "; ".join(mended)


def _verify_at(invocation: Invocation, name: str, group: str, site: str, *, full: bool) -> Verified:
    try:
        with opened_store(invocation, group, site) as store:
            return verify_stored(invocation, store, store.copy(name), full=full)
    except (NotFound, Unavailable) as error:
        if isinstance(error, NotFound) and site not in invocation.config.sites:
            raise
        archive = find_archive(invocation.deployment.cluster.control.snapshot(), group, name, site)
        if archive is not None and archive.site == site:
            return _verify_archive(invocation, archive, full=full)
        return Verified(site, None, None, None, error)


def verify_stored(invocation: Invocation, store: Store, copy: Copy, *, full: bool) -> Verified:
    """A copy that a site's store holds, beside the site's own receipt; with ``full`` anew from every block."""
    site, group = store.identity.site, store.identity.group
    if full:
        size = sum(volume.size for volume in copy.volumes)
        with byte_bar(invocation, f"reading copy {copy.name} at {site}", size) as advance:
            digest = store.verify(copy, advance)
    else:
        digest = store.digest(copy)
    told = copies_of(invocation.deployment.cluster.control.snapshot(), group, invocation.config.sites)
    receipts = {(one.sequence, one.seal, one.name): one.receipts for one in told}.get(_identity(copy), {})
    return Verified(site, copy, digest, receipts[site].digest if site in receipts else None, None)


def _verify_archive(invocation: Invocation, archive: CopyArchived, *, full: bool) -> Verified:
    try:
        if full:
            what = f"reading the archive of copy {archive.name}"
            with byte_bar(invocation, what, None) as advance:
                found = verify_archive(archive, advance)
        else:
            found = open_archive(archive)
    except ExportDamaged as error:
        return Verified(archive.site, None, None, None, error)
    return Verified(archive.site, found.copy, found.digest(found.copy), archive.digest, None)


def _asked(invocation: Invocation, name: str, group: str) -> list[str]:
    """Every site, but those whose newest copy of that name went when it was archived, or that began behind it."""
    view, sites = invocation.deployment.cluster.control.snapshot(), list(invocation.config.sites)
    named, without = _named(view, name, group, sites), (Answer.DROPPED, Answer.BEGINS_LATER)
    return [site for site in sites if named is None or named.answers[site] not in without]


def _named(view: ControlView, name: str, group: str, sites: Iterable[str]) -> CatalogueCopy | None:
    """The newest one of that name."""
    named = [copy for copy in copies_of(view, group, sites) if name in (copy.name, f"#{copy.sequence}")]
    return named[-1] if named else None


def _show(
    invocation: Invocation,
    name: str,
    group: str,
    found: list[Verified],
    equal: bool | None,
    *,
    full: bool,
    json: bool,
) -> None:
    if json:
        sites = {
            one.site: {
                "sequence": one.copy.sequence if one.copy else None,
                "digest": one.digest.hex() if one.digest else None,
                "receipt": one.receipt.hex() if one.receipt else None,
                "problem": str(one.problem) if one.problem else None,
            }
            for one in found
        }
        emit_json(invocation, {"group": group, "name": name, "full": full, "equal": equal, "sites": sites})
        return
    rows: list[tuple[str | Text, ...]] = []
    for one in found:
        if one.problem is not None:
            rows.append((one.site, "-", "-", Text(str(one.problem), style="yellow")))
            continue
        assert one.copy is not None and one.digest is not None
        said = Text("as its receipt says", style="green") if one.receipt else Text("no receipt yet", style="yellow")
        if not one.keeps_its_word:
            said = Text(f"DIFFERS from its receipt {one.receipt.hex() if one.receipt else ''}", "bold white on red")
        rows.append((one.site, str(one.copy.sequence), one.digest.hex(), said))
    digest = "digest of all blocks" if full else "digest as kept"
    emit_table(invocation, ("site", "sequence", digest, ""), rows, ("sequence",))
