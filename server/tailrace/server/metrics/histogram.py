"""Histograms that cost a search in a short list for each value, and are put into Prometheus's form when asked for."""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Generic, NamedTuple, TypeVar

Label = TypeVar("Label", bound=Hashable)

TASK_BOUNDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0,
)  # fmt: skip
CALL_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ITEM_BOUNDS: Final = (1, 2, 5, 10, 25, 50, 100, 256)


class Distribution(NamedTuple):
    """One histogram as of now."""

    buckets: list[tuple[str, float]]
    """The upper bound, and how many values are at most that; the last bound is ``+Inf``."""
    total: float


class Histograms(Generic[Label]):
    """One histogram for each label."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._texts = [*(f"{bound:g}" if bound < 1 else f"{float(bound)}" for bound in bounds), "+Inf"]
        self._counts: dict[Label, list[float]] = {}
        """For each bucket, then the total."""

    def __contains__(self, label: object) -> bool:
        """Tell whether there is a histogram for a label."""
        return label in self._counts

    def add(self, label: Label, value: float) -> None:
        """Take one value; a negative one, of a clock that went back, counts as 0."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0.0] * (len(self._texts) + 1)
        counts[bisect_left(self._bounds, value)] += 1
        if value > 0:
            counts[-1] += value

    def distributions(self) -> Iterator[tuple[Label, Distribution]]:
        """Tell all, in the order in which labels came."""
        for label, (*counts, total) in self._counts.items():
            yield label, Distribution(list(zip(self._texts, accumulate(counts), strict=True)), total)
