"""Every exit code of the command line, in one place; docs/cli.md lists the same."""

from tidelog.errors import OutOfBounds, TidelogError, UsageError

OK = 0
FAILURE = 1
USAGE = 2
DEGRADED = 3
HALTED = 4
MISSED = 5
FENCED = 13
INTERRUPTED = 130

EXIT_CODES = {
    OK: "ok",
    FAILURE: "failure",
    USAGE: "usage: the command line, or what it names, is wrong",
    DEGRADED: "degraded or partial: copies differ, a site has not answered in time or is silent, a writer is gone",
    HALTED: "halted: a site or a log stops on doubt",
    MISSED: "objective missed: a site's RPO is more than the configured one",
    10: "configuration",
    11: "Kafka unreachable",
    12: "Redis unreachable, or the wrong store",
    FENCED: "fenced, or refused because a writer is alive",
    INTERRUPTED: "interrupted",
}


# Those of `tidelog check --nagios` alone, as Nagios has them, by the word that a plugin says.
NAGIOS = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
NAGIOS_MEANINGS = {
    "OK": "all is well",
    "WARNING": "a site is silent, unknown, stopped or waiting; a writer is silent or has ended by an error",
    "CRITICAL": "an alarm, a site that has halted, an objective that is missed or unknown",
    "UNKNOWN": "nothing could be judged: Kafka, the configuration, the command line, or there is no group",
}


class WriterAlive(UsageError):
    """A writer session is at work on the group, and a command would fence it."""

    exit_code = FENCED


class PartlyWritten(OutOfBounds):
    """A stream turned out to be longer than its target: what fits of it is written."""

    exit_code = DEGRADED


class Torn(TidelogError):
    """What was read is not of one point in time, so it was not kept."""

    exit_code = DEGRADED


def epilogue() -> str:
    """The exit codes, for ``--help``."""
    return "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."
