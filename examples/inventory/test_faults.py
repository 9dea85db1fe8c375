"""What becomes of the inventory while something is broken: tests on real servers that fail when they are told to."""

import pytest
from inventory import Inventory, read_slot

from tidelog import LogUnavailable
from tidelog.testing.readiness import wait_until


def test_a_site_that_is_cut_off_catches_up(tidelog_network):
    """The day closes without osaka; once it has the network again, it has the day."""
    network = tidelog_network
    osaka, _tokyo = network.site("osaka"), network.site("tokyo")
    group = network.group("shop")
    inventory = Inventory(group)
    inventory.put(0, "bolts", 100)
    inventory.close_of_business("monday").wait(sites=["tokyo", "osaka"], timeout=60)
    osaka.to_kafka.cut()
    inventory.put(0, "bolts", 5)
    tuesday = inventory.close_of_business("tuesday")
    tuesday.wait(sites=["tokyo"], timeout=60)
    behind = network.view("osaka").group("shop")
    assert wait_until(lambda: behind.rpo > 2, 60)
    assert [copy.name for copy in behind.copies()] == ["close-monday"]
    osaka.to_kafka.heal()
    tuesday.wait(sites=["osaka"], timeout=60)
    assert read_slot(behind.copy("close-tuesday").volume("inventory").read, 0) == ("bolts", 5)


def test_no_commit_without_kafka(tidelog_network):
    """What was not committed is said so; the next session goes on from what is in the log."""
    network = tidelog_network
    network.site("tokyo")
    inventory = Inventory(network.group("shop"))
    inventory.put(0, "bolts", 100)
    inventory.commit()
    network.to_kafka.cut()
    inventory.put(0, "bolts", 99)
    with pytest.raises(LogUnavailable):
        inventory.commit()
    network.heal()
    assert Inventory(network.group("shop")).get(0) in (("bolts", 100), ("bolts", 99))
