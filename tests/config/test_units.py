"""Sizes and durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.errors import InvalidName, UsageError
from tidelog.names import check_name
from tidelog.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        (4096, 4096),
        ("1KiB", 1024),
        ("1 KiB", 1024),
        ("64MiB", 64 * 1024**2),
        ("1.5GiB", 3 * 512 * 1024**2),
        ("2TiB", 2 * 1024**4),
        ("10MB", 10_000_000),
        ("7kb", 7000),
        ("12B", 12),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "1 2", "64M", "1K", "GiB", "0.3B", True, None, 1.5, "1e3"])
def test_what_is_no_size_says_what_one_is(text):
    with pytest.raises(UsageError) as raised:
        parse_size(text)
    assert "a size is" in raised.value.hint


@given(st.integers(min_value=0, max_value=2**62))
def test_a_number_of_bytes_is_itself(size):
    assert parse_size(str(size)) == parse_size(f"{size}B") == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2ms", 0.002), ("1.5s", 1.5), ("15m", 900), ("1h30m", 5400), ("1d", 86400), ("250us", 0.00025), ("3", 3), (3, 3)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "fast", "-1s", "1 week", "1s 2", "s", True, None, "1.s"])
def test_what_is_no_duration_says_what_one_is(text):
    with pytest.raises(UsageError) as raised:
        parse_duration(text)
    assert "a duration is" in raised.value.hint


@pytest.mark.parametrize("name", ["a", "0", "bank", "end-of-day", "v1.2_3", "a" * 63])
def test_names(name):
    assert check_name("group", name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a b", "a/b", "ä", "a" * 64, "a\n", None, 5])
def test_what_is_no_name_says_what_one_is(name):
    with pytest.raises(InvalidName, match="no name for a group") as raised:
        check_name("group", name)
    assert "63" in raised.value.hint
