"""What a data set can show: the smallest difference it separates, and how many samples one needs.

Two models that answer the same samples are compared sample by sample, so only the samples on which
they *disagree* (one right, the other wrong) say anything: the fewer there are, the smaller a
difference can be seen. Two accuracies from different samples need far more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_NORMAL = NormalDist()
_MOST = 10**9


def paired_power(
    samples: float, difference: float, disagreement: float, *, alpha: float = 0.05
) -> float:
    """Chance that McNemar's exact test shows a difference of two models on the same samples.

    Args:
        samples: Independent ones; where images are shared, divide by `design_effect`.
        difference: Of the two accuracies, in (0, `disagreement`].
        disagreement: Share of samples that exactly one of them has right, in (0, 1].
        alpha: Of the two-sided test.

    Returns:
        In [0, 1]. A normal approximation with a continuity correction, on the safe side: where it
        says 0.80, simulations of the exact test gave 0.80 to 0.87 from 50 samples on.

    Raises:
        ValueError: A share is out of range, or the difference exceeds the disagreement.

    Source:
        Connor, Biometrics 43, 1987; the correction by one sample is that of the exact test.
    """
    gap = abs(difference)
    if not 0 < gap <= disagreement <= 1:
        raise ValueError(
            f"expected a difference above 0 and up to the disagreement of {disagreement}, "
            f"got {difference}"
        )
    threshold = _NORMAL.inv_cdf(1 - alpha / 2) * math.sqrt(samples * disagreement)
    spread = math.sqrt(samples * max(disagreement - gap**2, 1e-12))
    return _NORMAL.cdf((samples * gap - 1 - threshold) / spread)


def unpaired_power(
    samples: float, difference: float, accuracy: float, *, alpha: float = 0.05
) -> float:
    """Chance that a test of two proportions shows a difference between two sets of samples.

    Args:
        samples: Independent ones in each of the two sets.
        difference: Of the two accuracies, above 0.
        accuracy: The mean of the two, in (0, 1).
        alpha: Of the two-sided test.

    Returns:
        In [0, 1], by the normal approximation.

    Raises:
        ValueError: An accuracy would leave [0, 1].

    Source:
        Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 2003, chapter 4.
    """
    gap = abs(difference)
    low, high = accuracy - gap / 2, accuracy + gap / 2
    if not gap or low < -1e-12 or high > 1 + 1e-12:
        raise ValueError(f"expected accuracies in [0, 1], got {low:.3f} and {high:.3f}")
    low, high = max(low, 0.0), min(high, 1.0)
    pooled = math.sqrt(2 * accuracy * (1 - accuracy) / samples)
    apart = math.sqrt(max((low * (1 - low) + high * (1 - high)) / samples, 1e-12))
    return _NORMAL.cdf((gap - _NORMAL.inv_cdf(1 - alpha / 2) * pooled) / apart)


def smallest_paired(
    samples: float, disagreement: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest difference that shows with the wanted power, on the same samples.

    Args:
        samples: Independent ones.
        disagreement: Share of samples that exactly one model has right, in (0, 1].
        power: Wanted, in (0, 1).
        alpha: Of the two-sided test.

    Returns:
        In (0, `disagreement`]; NaN where not even that would show.
    """
    return _smallest(
        lambda gap: paired_power(samples, gap, disagreement, alpha=alpha), disagreement, power
    )


def smallest_unpaired(
    samples: float, accuracy: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest difference that shows with the wanted power, between two sets of samples.

    Args:
        samples: Independent ones in each set.
        accuracy: The mean of the two accuracies, in (0, 1).
        power: Wanted, in (0, 1).
        alpha: Of the two-sided test.

    Returns:
        In (0, 1]; NaN where no difference that keeps the mean would show.
    """
    most = 2 * min(accuracy, 1 - accuracy)
    return _smallest(lambda gap: unpaired_power(samples, gap, accuracy, alpha=alpha), most, power)


def samples_for_paired(
    difference: float, disagreement: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """How many independent samples show a difference of two models that both answer them.

    Args:
        difference: In (0, `disagreement`].
        disagreement: Share of samples that exactly one model has right, in (0, 1].
        power: Wanted, in (0, 1).
        alpha: Of the two-sided test.
    """
    return _fewest(lambda n: paired_power(n, difference, disagreement, alpha=alpha), power)


def samples_for_unpaired(
    difference: float, accuracy: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """How many independent samples each of two sets needs to show a difference.

    Args:
        difference: Above 0.
        accuracy: The mean of the two accuracies, in (0, 1).
        power: Wanted, in (0, 1).
        alpha: Of the two-sided test.
    """
    return _fewest(lambda n: unpaired_power(n, difference, accuracy, alpha=alpha), power)


def design_effect(samples: int, clusters: int, correlation: float) -> float:
    """By how much shared images shrink a data set: `samples` count like `samples` / this.

    Args:
        samples: Above 0.
        clusters: Images, from 1 to `samples`.
        correlation: Of two samples of one image, in [0, 1]: how much alike they are answered.

    Returns:
        1 or more, with images of about as many samples each.

    Source:
        Kish, Survey Sampling, 1965.
    """
    return 1 + (samples / clusters - 1) * correlation


def _smallest(power_of: Callable[[float], float], most: float, wanted: float) -> float:
    if power_of(most) < wanted:
        return math.nan
    low, high = 0.0, most
    for _ in range(60):
        middle = (low + high) / 2
        if power_of(middle) < wanted:
            low = middle
        else:
            high = middle
    return high


def _fewest(power_of: Callable[[int], float], wanted: float) -> int:
    low, high = 1, 2
    while power_of(high) < wanted and high < _MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if power_of(middle) < wanted:
            low = middle
        else:
            high = middle
    return high
