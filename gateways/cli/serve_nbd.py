"""`tidelog serve nbd`: an NBD server as a process of its own."""

import asyncio
import signal
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tidelog.clock import iso, wall_us
from tidelog.consumers.deployment import find_site
from tidelog.consumers.primary import primary_site
from tidelog.consumers.process_settings import set_for_worker
from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.cli.exit_codes import INTERRUPTED, OK
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import Group, TakeOver
from tidelog.gateways.cli.sidefile_files import refuse_undrained
from tidelog.gateways.cli.writers import refuse_live_writer
from tidelog.gateways.nbd.address import Address, Listening, UnixAddress, default_socket, parse_address
from tidelog.gateways.nbd.catalogue import Catalogue
from tidelog.gateways.nbd.security import certified, keyed
from tidelog.gateways.nbd.server import NbdServer
from tidelog.gateways.nbd.writer import Writer, open_writer
from tidelog.producers.mirrors import refuse_mirror

# The commands that are being carried out when the end comes have so long beyond the log's own timeout (seconds).
_GRACE = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


app = typer.Typer()


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


@app.command()
def nbd(
    context: typer.Context,
    group: Group,
    site: Annotated[
        str | None, typer.Option("--site", "-s", help="Where to read. Default: the group's primary.")
    ] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="A unix socket. Default: GROUP-SITE.nbd in the user's own folder.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="HOST:PORT instead; beyond this machine only with TLS.")
    ] = None,
    tls_certificates: Annotated[
        Path | None,
        typer.Option(help="TLS: a folder of ca-cert.pem, server-cert.pem and server-key.pem."),
    ] = None,
    tls_psk: Annotated[
        Path | None, typer.Option(help="TLS with keys that clients know: a file of NAME:HEX. Python 3.13 or newer.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Copies and clones alone, not to be written to.")
    ] = False,
    take_over: TakeOver = False,
) -> int:
    """Serves a group's volumes, copies and clones as network block devices until SIGTERM (exit code 0) or Ctrl-C (130).

    At the primary live volumes can be written to: that is a writer session, as an application's is.
    """
    wanted = Wanted(group, site, socket, address, tls_certificates, tls_psk, read_only, take_over)
    return serve_nbd(of(context), wanted)


def serve_nbd(invocation: Invocation, wanted: Wanted) -> int:
    """Serves until a signal; the exit code. Raises what ends it otherwise: `Fenced`, once another session has taken
    over; what opening the group does; `UsageError` for an address that cannot be."""
    set_for_worker()  # its threads take turns at each command
    tls = _tls(wanted)
    primary = _primary(invocation, wanted.group)
    site = wanted.site or primary
    find_site(invocation.config, site)
    address = _address(wanted, site, tls)
    writes = not wanted.read_only and site == primary
    if writes:
        _refuse_other_writers(invocation, wanted)
    listening = address.listen()  # before anybody is fenced
    try:
        opened = partial(open_writer, invocation.deployment, wanted.group)
        writer = Writer(opened(), opened) if writes else None
        try:
            code = _served(invocation, wanted, site, writer, listening, tls)
        except BaseException:
            if writer is not None:
                writer.abandon()  # a flush could wait for long, and nobody is told that it succeeded
            raise
        if writer is not None:
            writer.close()
    finally:
        listening.close()
    return code


def _served(
    invocation: Invocation,
    wanted: Wanted,
    site: str,
    writer: Writer | None,
    listening: Listening,
    tls: ssl.SSLContext | None,
) -> int:
    def say(text: str) -> None:
        invocation.say(f"{iso(wall_us())} {' '.join(text.split())}")

    deployment = invocation.deployment
    catalogue = Catalogue(deployment, wanted.group, site, writer, read_only=wanted.read_only)
    what = "volumes, copies and clones" if writer is not None else "copies and clones"
    ready = f"{what} of group {wanted.group} at {site}: {listening.address.uri('NAME', tls=tls is not None)}"
    patience = invocation.config.writer.write_timeout + _GRACE
    try:
        server = NbdServer(catalogue, listening, tls=tls, say=say, patience=patience)
        number = asyncio.run(_until_told(server, say, ready))
    finally:
        catalogue.close()
    say("stopped")
    return INTERRUPTED if number == signal.SIGINT else OK


async def _until_told(server: NbdServer, say: Callable[[str], None], ready: str) -> int | None:
    """Serves until a signal; which one it was. ``ready`` is said once one ends it in order."""
    came: list[int] = []

    def stop(number: signal.Signals) -> None:
        say(f"{number.name}: stopping")
        came.append(number)
        server.stop()
        for one in _SIGNALS:  # a second one ends the process at once
            loop.remove_signal_handler(one)

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    say(ready)
    await server.run()
    return came[0] if came else None


def _primary(invocation: Invocation, group: str) -> str:
    config, cluster = invocation.config, invocation.deployment.cluster
    if config.primary is None:
        raise ConfigError("no site is configured", hint="add [sites.NAME.redis] with its url")
    return primary_site(cluster.control.snapshot(), cluster.find_group(group), config)


def _refuse_other_writers(invocation: Invocation, wanted: Wanted) -> None:
    """Raises `WriterAlive`, or what else speaks against a session, before anybody is fenced."""
    cluster, group = invocation.deployment.cluster, wanted.group
    refuse_undrained(invocation.config, group)
    record = cluster.find_group(group)
    refuse_mirror(cluster.control, record, lambda: cluster.log(record))
    if not wanted.take_over:
        refuse_live_writer(invocation, group, "; copies and clones are served without a session by --read-only")


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
