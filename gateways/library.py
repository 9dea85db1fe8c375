"""`tidelog.open_site`: the reading side with everything that stands to the right of it, such as archives of copies."""

from os import PathLike

from tidelog.config import Config
from tidelog.consumers import access
from tidelog.consumers.archives import CopySource
from tidelog.consumers.deployment import Deployment
from tidelog.consumers.site_view import Site
from tidelog.stores.store import Copy


def open_site(
    name: str, config: "Config | str | PathLike[str] | None" = None, *, deployment: Deployment | None = None
) -> Site:
    """Opens a site for reading: no writer session, no fencing. Copies that the site has archived are read from there.

    ``config`` is a path or a `Config` (default: ``TIDELOG_CONFIG``, ``./tidelog.toml``, the environment);
    ``deployment`` replaces what it would connect to, and stays open. Raises `NotFound` for a site that is not
    configured, `ConfigError`.
    """
    return access.open_site(name, config, deployment=deployment, archive=_find)


def _find(deployment: Deployment, group: str, site: str, name: str) -> tuple[CopySource, Copy] | None:
    from tidelog.gateways.exports.archived import find_in_archive  # what it needs takes a while to load

    return find_in_archive(deployment, group, site, name)
