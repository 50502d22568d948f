"""Figures of a campaign: a value with its 95 % interval, held against the bound that it must keep."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table. ``bound``: what it must not exceed or, where ``at_least``, not stay below.

    ``interval``: where the true value lies with 95 % certainty. ``count``: what it was measured on.
    """

    words: str
    value: float | None
    bound: float | None
    unit: str
    count: float
    at_least: bool = False
    interval: tuple[float, float] | None = None

    @property
    def is_reached(self) -> bool:
        """Whether the figure holds; one without a bound always does, one that was not measured does not."""
        if self.bound is None:
            return True
        return self.value is not None and (self.value >= self.bound if self.at_least else self.value <= self.bound)


def share(words: str, part: int, whole: int, bound: float | None, at_least: bool = False) -> Figure:
    """A percentage, with Wilson's interval (E. B. Wilson, Probable inference, 1927)."""
    if not whole:
        return Figure(words, None, bound, "%", 0, at_least)
    p, z2 = part / whole, Z95**2 / whole
    middle, half = p + z2 / 2, Z95 * (p * (1 - p) / whole + z2 / (4 * whole)) ** 0.5
    low, high = (100 * (middle + sign * half) / (1 + z2) for sign in (-1, 1))
    return Figure(words, 100 * p, bound, "%", whole, at_least, (low, high))


def percentile(
    words: str, values: Sequence[float], percent: float, bound: float | None, unit: str, at_least: bool = False
) -> Figure:
    """A percentile, with the interval that the order of the values gives, whatever their distribution."""
    if not len(values):
        return Figure(words, None, bound, unit, 0, at_least)
    half = Z95 * (percent * (100 - percent) / len(values)) ** 0.5
    at = [percent, max(0.0, percent - half), min(100.0, percent + half)]
    value, low, high = np.percentile(np.asarray(values, dtype=np.float64), at).tolist()
    return Figure(words, value, bound, unit, len(values), at_least, (low, high))


def per_hour(words: str, events: int, hours: float, bound: float | None) -> Figure:
    """A rate, with the exact interval of rare independent events (F. Garwood, Fiducial limits, 1936)."""
    if hours <= 0:
        return Figure(words, None, bound, "/h", 0)
    low = float(chi2.ppf(0.025, 2 * events)) / 2 if events else 0.0
    high = float(chi2.ppf(0.975, 2 * events + 2)) / 2
    return Figure(words, events / hours, bound, "/h", hours, interval=(low / hours, high / hours))


def as_lines(figures: Sequence[Figure]) -> list[str]:
    """A line a figure: value, interval, bound and verdict."""
    lines = []
    for figure in figures:
        told = "-" if figure.value is None else f"{figure.value:.2f} {figure.unit}"
        span = "" if figure.interval is None else f"({figure.interval[0]:.2f} to {figure.interval[1]:.2f})"
        bound = "" if figure.bound is None else f"{'>=' if figure.at_least else '<='} {figure.bound:g}"
        verdict = "" if figure.bound is None else ("ok" if figure.is_reached else "SHORT")
        lines.append(f"{figure.words:44} {told:>11} {span:20} {bound:8} {verdict:5} of {figure.count:g}".rstrip())
    return lines
