"""What became of the rows of a data set: how many there were in each split, how many were left out for which reason, how many are in the
table; beside the paper's numbers. Knows no data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cyclicxr.types import InputError


@dataclass
class Tally:
    """Counts by split; `considered` is `kept` and everything `excluded`, so that nothing is dropped silently.

    Args:
        paper: split -> the paper's number of pairs (4.1).
        considered: split -> rows of the data set.
        excluded: reason -> split -> rows left out for it; a row counts once, under the first reason that holds.
        kept: split -> rows of the studies table.
        notes: what was done with reports that are kept -> how many rows.
    """

    paper: Mapping[str, int]
    considered: Counter[str] = field(default_factory=Counter)
    excluded: dict[str, Counter[str]] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def exclude(self, split: str, reason: str, count: int = 1) -> None:
        """Count rows that are left out."""
        self.considered[split] += count
        self.excluded.setdefault(reason, Counter())[split] += count

    def keep(self, split: str) -> None:
        """Count a row of the table."""
        self.considered[split] += 1
        self.kept[split] += 1

    def add(self, other: Tally) -> None:
        """Add another part of the same data set."""
        self.considered += other.considered
        self.kept += other.kept
        self.notes += other.notes
        for reason, counts in other.excluded.items():
            self.excluded[reason] = self.excluded.get(reason, Counter()) + counts

    def to_json(self) -> dict[str, Any]:
        """Plain dict of JSON types."""
        return {
            "paper": dict(self.paper),
            "considered": dict(self.considered),
            "excluded": {reason: dict(counts) for reason, counts in self.excluded.items()},
            "kept": dict(self.kept),
            "notes": dict(self.notes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """What `to_json` gave.

        Raises:
            InputError: it is not of this form.
        """
        try:
            return cls(
                value["paper"],
                Counter(value["considered"]),
                {reason: Counter(counts) for reason, counts in value["excluded"].items()},
                Counter(value["kept"]),
                Counter(value["notes"]),
            )
        except (KeyError, AttributeError, TypeError) as error:
            raise InputError(f"not a tally of ours ({error}); start again without it") from None

    def to_text(self) -> str:
        """A table: a line for each reason, a column for each split, then the paper's numbers."""
        splits = [name for name in ("train", "val", "test") if name in self.considered or name in self.paper]
        splits += sorted(self.considered.keys() - set(splits))
        reasons = sorted(self.excluded, key=lambda reason: -self.excluded[reason].total())
        lines = [("", *(split or "none" for split in splits), "all")]
        lines += [_line("in the data set", self.considered, splits)]
        lines += [_line(f"- {reason}", self.excluded[reason], splits) for reason in reasons]
        lines += [_line("in the table", self.kept, splits), _line("the paper's (4.1)", self.paper, splits)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        shown = [
            "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        return "\n".join([*shown, *(f"of these, {count:,}: {note}" for note, count in sorted(self.notes.items()))])


def _line(name: str, counts: Mapping[str, int], splits: list[str]) -> tuple[str, ...]:
    return (name, *(f"{counts.get(split, 0):,}" for split in splits), f"{sum(counts.values()):,}")
