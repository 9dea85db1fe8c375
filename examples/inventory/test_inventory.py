"""How an application tests itself with tidelog's fixtures: `pip install 'tidelog[testing]'`, nothing to configure.

Run it alone with ``pytest examples/inventory``; the fixtures come with the installed plugin.
"""

import pytest
from inventory import Inventory, read_slot


def test_own_changes_are_seen_at_once(tidelog_memory_group):
    """No servers: the in-memory group keeps the same contract."""
    inventory = Inventory(tidelog_memory_group)
    inventory.put(0, "bolts", 100)
    inventory.put(1, "nuts", 0)
    inventory.move(0, 1, 30)
    assert inventory.get(0) == ("bolts", 70)
    assert inventory.get(1) == ("nuts", 30)


@pytest.mark.parametrize("kind", ["memory", "servers"])
def test_the_day_closes_at_every_site(kind, request):
    """The copy at another site holds the close of business, whatever was written after it."""
    memory = kind == "memory"
    group = request.getfixturevalue("tidelog_memory_group" if memory else "tidelog_group")
    site = request.getfixturevalue("tidelog_memory_site" if memory else "tidelog_site")
    osaka = site("osaka")
    inventory = Inventory(group)
    inventory.put(0, "bolts", 100)
    copy = inventory.close_of_business("monday")
    inventory.put(0, "bolts", 5)
    inventory.commit()

    copy.wait(sites=["osaka"], timeout=60)
    monday = osaka.group(group.name).copy("close-monday").volume("inventory")
    assert read_slot(monday.read, 0) == ("bolts", 100)
    assert inventory.get(0) == ("bolts", 5)
