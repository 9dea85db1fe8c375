"""What `tidelog status` says of the newest copies in each of its forms: equal at the sites, not, or not known yet."""

import json
import re

import pytest

from tests.cli.conftest import SITES
from tests.cli.test_status_screen import config_file, drawn, observed, table_of  # noqa: F401 (fixtures)
from tidelog.consumers.access import open_group
from tidelog.gateways.standing.observer import Observer
from tidelog.schemas.control import CopyFormed


@pytest.fixture
def differing(observed, deployment):  # noqa: F811
    """The group's one copy, of which osaka has told another digest than the other sites."""
    assert observed
    control = deployment.cluster.control
    (told,) = (one for one in control.snapshot().values() if isinstance(one, CopyFormed) and one.site == "osaka")
    control.publish(told.model_copy(update={"digest": bytes(16)}))
    return look(deployment)


@pytest.fixture
def unanswered(observed, sites, deployment):  # noqa: F811
    """A second copy, to which osaka, which has stopped, has no answer."""
    assert observed
    sites.stop_site("osaka")
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"y")
        group.mark("second").wait(sites=["tokyo", "london"], timeout=60)
    return look(deployment)


def look(deployment):
    with Observer(deployment) as observer:
        return observer.observe()


def said_of_sites(found):
    """What each site's newest copy is called in the table, and the same where there is no room for a table."""
    rows = table_of(drawn(found, 1000))
    assert rows is not None
    wide = {row["site"]: row["newest copy"] for row in rows}
    narrow, site = {}, ""
    for line in drawn(found, 80):
        site = next((name for name in SITES if line.startswith(f"{name} ")), site)
        if at := line.partition("; newest copy ")[2]:
            narrow[site] = at
    assert narrow == wide and len(wide) == len(SITES)
    assert all(re.fullmatch(r"\S+ s old, \w+", said) for said in wide.values())
    return {site: said.rpartition(", ")[2] for site, said in wide.items()}


def said_of_the_newest(found):
    """The line below the sites from the copy's age on; it is the same in every width."""
    (line,) = (line for line in drawn(found, 1000) if ", the newest " in line)
    assert line in " ".join(drawn(found, 80))
    return line.partition(" s old: ")[2]


def test_copies_that_are_equal(observed, bank):  # noqa: F811
    """One digest is shown of all."""
    assert said_of_sites(observed) == dict.fromkeys(SITES, "equal")
    assert re.fullmatch(r"equal [0-9a-f]{12}", said_of_the_newest(observed))
    (group,) = json.loads(bank("status", "--json").out)["groups"]
    assert group["newest_copy"]["equal"] is True


def test_copies_that_differ(differing, bank):
    """It is said at each site, since none is known to be right, and with both digests; to programs, too."""
    assert said_of_sites(differing) == dict.fromkeys(SITES, "DIFFERS")
    assert re.fullmatch(r"DIFFERS 0{12}, (?!0{12})[0-9a-f]{12}", said_of_the_newest(differing))
    done, told = bank("status"), bank("status", "--json")
    assert done.code == told.code == 3 and done.text.count("DIFFERS") == len(SITES) + 1
    (group,) = json.loads(told.out)["groups"]
    newest = group["newest_copy"]
    assert newest["equal"] is False and newest["sites"]["osaka"]["digest"] == "0" * 32


def test_a_copy_that_a_site_has_not_answered_for(unanswered, bank):
    """Nothing is known of it yet; the site itself has one that is equal."""
    assert said_of_sites(unanswered) == {"tokyo": "waiting", "osaka": "equal", "london": "waiting"}
    assert re.fullmatch(r"waiting [0-9a-f]{12} \(no answer from osaka\)", said_of_the_newest(unanswered))
    (group,) = json.loads(bank("status", "--json").out)["groups"]
    assert group["newest_copy"]["equal"] is None
