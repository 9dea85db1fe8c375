"""A terminal's screen: what is to be seen after a program has drawn on it. Knows the codes that rich uses."""

import re

_CODE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


class Screen:
    """Rows of characters and a cursor. An escape code that it does not know raises `ValueError`: what it would show
    then is not what a person sees."""

    def __init__(self, rows: int, columns: int) -> None:
        self._columns = columns
        self._rows = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        """All rows, without trailing blanks."""
        return "\n".join("".join(row).rstrip() for row in self._rows)

    def feed(self, drawn: str) -> None:
        """Draws; a code that is cut off at the end is left out."""
        at = 0
        while at < len(drawn):
            character = drawn[at]
            if character == "\x1b":
                code = _CODE.match(drawn, at)
                if code is None:
                    if len(drawn) - at > 8:
                        raise ValueError(f"unknown escape {drawn[at : at + 8]!r}")
                    return
                self._code(code[1], code[2])
                at = code.end()
                continue
            self._put(character)
            at += 1

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif character != "\x07":
            if self._column == self._columns:
                self._column = 0
                self._down()
            self._rows[self._row][self._column] = character
            self._column += 1

    def _down(self) -> None:
        if self._row == len(self._rows) - 1:
            self._rows = [*self._rows[1:], [" "] * self._columns]
        else:
            self._row += 1

    def _code(self, numbers: str, letter: str) -> None:
        count = int(numbers) if numbers.isdigit() else 0
        if letter == "A":
            self._row = max(0, self._row - (count or 1))
        elif letter == "B":
            self._row = min(len(self._rows) - 1, self._row + (count or 1))
        elif letter == "G":
            self._column = max(0, count - 1)
        elif letter == "K":
            first = self._column if count == 0 else 0
            last = self._column + 1 if count == 1 else self._columns
            self._rows[self._row][first:last] = [" "] * (last - first)
        elif letter == "H":
            row, _, column = numbers.partition(";")
            self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
        elif letter == "J":
            for row in self._rows[0 if count == 2 else self._row :]:
                row[:] = [" "] * self._columns
        elif letter not in ("m", "h", "l"):  # colours, and whether the cursor shows
            raise ValueError(f"unknown code {numbers}{letter}")
