"""`tidelog pitc import`: exports brought back into an empty site."""

from tidelog.consumers.process_settings import set_for_worker
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.exports.loading import import_exports, open_exports, work


def import_copy(invocation: Invocation, places: list[str], site: str, group: str | None, *, json: bool) -> None:
    """Raises what `open_exports` and `import_exports` do."""
    set_for_worker()  # its threads decode and write at once
    exports = open_exports(places, group)
    manifest = exports[-1][1]
    with byte_bar(invocation, f"importing {manifest.pitc.name}", work(exports)) as advance:
        copy = import_exports(invocation.deployment, site, exports, advance)
    if json:
        document = {
            "group": manifest.group,
            "site": site,
            "name": copy.name,
            "sequence": copy.sequence,
            "seal": copy.seal.hex(),
            "digest": manifest.pitc.digest,
        }
        emit_json(invocation, document)
        return
    invocation.say(
        f"site {site} holds copy {copy.name} of group {manifest.group}, verified, and stands at sequence"
        f" {copy.sequence}; its worker goes on from there: tidelog site run {site}"
    )
