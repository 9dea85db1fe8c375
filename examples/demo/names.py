"""What is called what in the demo."""

SITES = ("tokyo", "osaka", "london")
GROUP, SECOND_GROUP = "bank", "orders"
LEDGER, JOURNAL, TEST_LEDGER, COUNTER = "ledger", "journal", "ledger-test", "counter"
BOTH_GROUPS, AFTER_VOLUME_COPY, DRILL = "both-groups", "after-volume-copy", "drill"
