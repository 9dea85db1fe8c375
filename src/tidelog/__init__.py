"""Replicated volumes with the same consistent point-in-time copies at every site, over Kafka and Redis.

    import tidelog

    with tidelog.open_group("bank", config="tidelog.toml") as group:
        ledger = group.create_volume("ledger", size="1GiB")
        ledger.write(0, b"...")
        group.flush()
        copy = group.mark("end-of-day")

    london = tidelog.open_site("london", config="tidelog.toml").group("bank")
    london.copy("end-of-day").volume("ledger").read(0, 4096)

Names are loaded when they are first used, so that importing `tidelog` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidelog.config import Config
    from tidelog.consumers.access import open_group
    from tidelog.consumers.clone_view import CloneView, CloneVolume
    from tidelog.consumers.deployment import MemoryDeployment
    from tidelog.consumers.site_view import CopyView, Site, SiteGroup
    from tidelog.consumers.site_volume import CopyVolume, SiteVolume
    from tidelog.errors import Fenced, LogUnavailable, StoreUnavailable, TidelogError
    from tidelog.gateways.library import open_site
    from tidelog.producers.durability import Durability
    from tidelog.producers.group import Group, MarkedCopy
    from tidelog.producers.sidefile_group import SidefileGroup
    from tidelog.producers.volume import Volume
    from tidelog.producers.volume_copy import VolumeCopy
    from tidelog.producers.volume_file import VolumeFile
    from tidelog.stores.diff import VolumeDiff

__version__ = "0.1.0"

__all__ = [
    "CloneView",
    "CloneVolume",
    "Config",
    "CopyView",
    "CopyVolume",
    "Durability",
    "Fenced",
    "Group",
    "LogUnavailable",
    "MarkedCopy",
    "MemoryDeployment",
    "SidefileGroup",
    "Site",
    "SiteGroup",
    "SiteVolume",
    "StoreUnavailable",
    "TidelogError",
    "Volume",
    "VolumeCopy",
    "VolumeDiff",
    "VolumeFile",
    "open_group",
    "open_site",
]

_HOMES = {
    "CloneView": "tidelog.consumers.clone_view",
    "CloneVolume": "tidelog.consumers.clone_view",
    "Config": "tidelog.config",
    "CopyView": "tidelog.consumers.site_view",
    "CopyVolume": "tidelog.consumers.site_volume",
    "Durability": "tidelog.producers.durability",
    "Fenced": "tidelog.errors",
    "Group": "tidelog.producers.group",
    "LogUnavailable": "tidelog.errors",
    "MarkedCopy": "tidelog.producers.group",
    "MemoryDeployment": "tidelog.consumers.deployment",
    "SidefileGroup": "tidelog.producers.sidefile_group",
    "Site": "tidelog.consumers.site_view",
    "SiteGroup": "tidelog.consumers.site_view",
    "SiteVolume": "tidelog.consumers.site_volume",
    "StoreUnavailable": "tidelog.errors",
    "TidelogError": "tidelog.errors",
    "Volume": "tidelog.producers.volume",
    "VolumeCopy": "tidelog.producers.volume_copy",
    "VolumeDiff": "tidelog.stores.diff",
    "VolumeFile": "tidelog.producers.volume_file",
    "open_group": "tidelog.consumers.access",
    "open_site": "tidelog.gateways.library",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tidelog' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
