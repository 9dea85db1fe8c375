"""`tidelog serve nbd`: an NBD server as a process of its own."""

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tidelog.clock import iso, wall_us
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import find_site
from tidelog.consumers.primary import primary_site
from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.cli.exit_codes import INTERRUPTED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.sidefile_files import refuse_undrained
from tidelog.gateways.cli.writers import refuse_live_writer
from tidelog.gateways.nbd.address import Address, UnixAddress, bound, default_socket, parse_address
from tidelog.gateways.nbd.catalogue import Catalogue
from tidelog.gateways.nbd.security import certified, keyed
from tidelog.gateways.nbd.server import NbdServer
from tidelog.gateways.nbd.writer import Writer
from tidelog.producers.group import Group
from tidelog.producers.mirrors import refuse_mirror
from tidelog.producers.opening import Opening
from tidelog.schemas.chain import Head

# The commands that are being carried out when the end comes have so long beyond the log's own timeout (seconds).
_GRACE = 5.0


class Wanted(NamedTuple):
    """What the command line says."""

    group: str
    site: str | None
    socket: Path | None
    address: str | None
    tls_certificates: Path | None
    tls_psk: Path | None
    read_only: bool
    take_over: bool


def serve_nbd(invocation: Invocation, wanted: Wanted) -> int:
    """Serves until a signal; the exit code. Raises what ends it otherwise: `Fenced`, once another session has taken
    over; what opening the group does; `UsageError` for an address that cannot be."""
    tls = _tls(wanted)
    primary = _primary(invocation, wanted.group)
    site = wanted.site or primary
    find_site(invocation.config, site)
    address = _address(wanted, site, tls)
    listening = address.listen()
    try:
        writes = not wanted.read_only and site == primary
        writer = _writer(invocation, wanted) if writes else None
        try:
            code = _served(invocation, wanted, site, writer, bound(address, listening), listening, tls)
        except BaseException:
            if writer is not None:
                writer.abandon()  # a flush could wait for long, and nobody is told that it succeeded
            raise
        if writer is not None:
            writer.close()
    finally:
        listening.close()
        address.leave()
    return code


def _served(
    invocation: Invocation,
    wanted: Wanted,
    site: str,
    writer: Writer | None,
    address: Address,
    listening: socket.socket,
    tls: ssl.SSLContext | None,
) -> int:
    def say(text: str) -> None:
        invocation.say(f"{iso(wall_us())} {' '.join(text.split())}")

    deployment = invocation.deployment
    catalogue = Catalogue(deployment, wanted.group, site, writer, read_only=wanted.read_only)
    what = "volumes, copies and clones" if writer is not None else "copies and clones"
    say(f"{what} of group {wanted.group} at {site}: {address.uri('NAME', tls=tls is not None)}")
    patience = invocation.config.writer.write_timeout + _GRACE
    try:
        number = asyncio.run(_until_told(NbdServer(catalogue, listening, tls=tls, say=say, patience=patience), say))
    finally:
        catalogue.close()
    say("stopped")
    return INTERRUPTED if number == signal.SIGINT else OK


async def _until_told(server: NbdServer, say: Callable[[str], None]) -> int | None:
    """Serves until a signal; which one it was."""
    came: list[int] = []

    def stop(number: signal.Signals) -> None:
        say(f"{number.name}: stopping")
        came.append(number)
        server.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await server.run()
    return came[0] if came else None


def _primary(invocation: Invocation, group: str) -> str:
    config, cluster = invocation.config, invocation.deployment.cluster
    if config.primary is None:
        raise ConfigError("no site is configured", hint="add [sites.NAME.redis] with its url")
    return primary_site(cluster.control.snapshot(), cluster.find_group(group), config)


def _writer(invocation: Invocation, wanted: Wanted) -> Writer:
    """A session as an application's: it makes the copies of the group's schedule. Without a sidefile: what a flush has
    confirmed is in the log. Raises `WriterAlive` before anybody is fenced."""
    deployment, group = invocation.deployment, wanted.group
    refuse_undrained(invocation.config, group)
    record = deployment.cluster.find_group(group)
    refuse_mirror(deployment.cluster.control, record, lambda: deployment.cluster.log(record))
    if not wanted.take_over:
        refuse_live_writer(invocation, group, "; copies and clones are served without a session by --read-only")

    def reopen(plan: Callable[[Head], Opening]) -> Group:
        return opened(plan=plan)

    opened = partial(open_group, group, deployment=deployment, sidefile=False)
    return Writer(opened(), reopen)


def _address(wanted: Wanted, site: str, tls: ssl.SSLContext | None) -> Address:
    if wanted.socket is not None and wanted.address is not None:
        raise UsageError("say --socket or --address, not both")
    if wanted.address is None:
        return default_socket(wanted.group, site) if wanted.socket is None else UnixAddress(wanted.socket.absolute())
    address = parse_address(wanted.address)
    if tls is None and not address.is_local:
        raise UsageError(
            f"{wanted.address} can be reached from other machines, and that is served over TLS alone",
            hint="give --tls-certificates or --tls-psk, or an address of this machine such as 127.0.0.1:10809",
        )
    return address


def _tls(wanted: Wanted) -> ssl.SSLContext | None:
    if wanted.tls_certificates is not None and wanted.tls_psk is not None:
        raise UsageError("say --tls-certificates or --tls-psk, not both")
    if wanted.tls_certificates is not None:
        return certified(wanted.tls_certificates)
    return None if wanted.tls_psk is None else keyed(wanted.tls_psk)
