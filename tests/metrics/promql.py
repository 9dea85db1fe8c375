"""What a PromQL expression asks for: metrics, their label matchers, and the labels that it groups by.

Not a parser: `promtool` judges the syntax. It reads tokens, which is enough for names.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\$?[a-zA-Z_:][\w:]*|\d[\w.]*|=~|!~|!=|==|<=|>=|\S')
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "bool", "offset", "Inf", "NaN"}
SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass
class Asked:
    """``matchers`` are (label, operator, value) of each metric, in order of appearance."""

    metrics: list[tuple[str, list[tuple[str, str, str]]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def asked(expression: str) -> Asked:
    """What ``expression`` names."""
    tokens, found, at = TOKEN.findall(expression), Asked(), 0
    while at < len(tokens):
        token, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        if token in GROUPING and after == "(":
            end = tokens.index(")", at)
            found.grouped |= set(tokens[at + 2 : end]) - {","}
            at = end
        elif token == "[":
            at = tokens.index("]", at)
        elif re.match(r"[a-zA-Z_:]", token) and token not in WORDS | GROUPING and after not in ("(", "by", "without"):
            matchers: list[tuple[str, str, str]] = []
            if after == "{":
                end = tokens.index("}", at)
                inside = [each for each in tokens[at + 2 : end] if each != ","]
                matchers = [
                    (label, operator, value.strip('"'))
                    for label, operator, value in zip(inside[::3], inside[1::3], inside[2::3], strict=True)
                ]
                at = end
            found.metrics.append((token, matchers))
        at += 1
    return found


def family(metric: str, histograms: set[str]) -> str:
    """The listed name of a metric that is asked for by one of a histogram's series."""
    for suffix in SUFFIXES:
        if metric.removesuffix(suffix) in histograms:
            return metric.removesuffix(suffix)
    return metric
