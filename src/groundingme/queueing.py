"""How long requests wait for a server: Erlang's formulas, a small simulation, and calibration.

A server answers up to `slots` requests at once; further ones wait in the order of their arrival.
Servers of language models get slower with each request in flight (they share a GPU), which the
formulas do not know and the simulation does. Where there is no such slowdown, and times are
exponential, the simulation has to give what Erlang's formula gives: the test of both.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Waiting(msgspec.Struct, frozen=True):
    """How long a request waits in a queue that is in balance.

    Attributes:
        chance: That it waits at all, in [0, 1].
        mean: Seconds, over all requests; infinite where more comes than can be served.
    """

    chance: float
    mean: float


class Server(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A server as a queue.

    Attributes:
        slots: Requests that it works on at once.
        seconds: Mean time of a request that is alone.
        slowdown: Seconds that each further request in flight adds to that, 0 or more.
        spread: Shape `(M,)`: times of requests in the same state, as multiples of their mean.
    """

    slots: int
    seconds: float
    slowdown: float = 0.0
    spread: Floats = msgspec.field(default_factory=lambda: np.ones(1))

    def service(self, in_flight: int) -> float:
        """Mean seconds that a request is worked on while so many are in flight."""
        return self.seconds + self.slowdown * (max(1, min(in_flight, self.slots)) - 1)

    def throughput(self, in_flight: int) -> float:
        """Requests a second while so many are always in flight."""
        return min(in_flight, self.slots) / self.service(in_flight)

    @property
    def capacity(self) -> float:
        """Most requests a second that it can serve."""
        return max(self.throughput(k) for k in range(1, self.slots + 1))

    def response(self, in_flight: int) -> float:
        """Mean seconds from asking to the reply while so many are always in flight: Little's law.

        Source:
            Little, Operations Research 9, 1961.
        """
        return in_flight / self.throughput(in_flight)


class Measured(msgspec.Struct, frozen=True, eq=False):
    """Response times with a fixed number of requests in flight.

    Attributes:
        in_flight: 1 or more.
        seconds: Shape `(M,)`.
    """

    in_flight: int
    seconds: Floats


def erlang_c(slots: int, load: float) -> float:
    """The chance that a request waits in M/M/c.

    Args:
        slots: c, 1 or more.
        load: Arrivals a second times mean seconds of service (erlangs), 0 or more.

    Returns:
        In [0, 1]; 1 from `load` of `slots` on.

    Raises:
        ValueError: `slots` or `load` is out of range.

    Source:
        Erlang 1917, by the recursion of Erlang B.

    Example:
        >>> round(erlang_c(2, 1.0), 4)
        0.3333
    """
    if slots < 1 or not load >= 0:
        raise ValueError(f"expected 1 slot or more and a load of 0 or more, got {slots} and {load}")
    if load >= slots:
        return 1.0
    blocked = 1.0
    for k in range(1, slots + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1 - load / slots * (1 - blocked))


def waiting(slots: int, rate: float, seconds: float, variation: float = 1.0) -> Waiting:
    """How long a request waits in M/M/c, and about how long in M/G/c.

    Args:
        slots: c.
        rate: Arrivals a second.
        seconds: Mean of service.
        variation: Standard deviation of service by its mean: 1 for exponential times, for which
            the result is exact, as it is for any with one slot (Pollaczek and Khinchine); 0 for
            constant ones.

    Source:
        Lee and Longton, Operational Research Quarterly 10, 1959, for M/G/c.
    """
    chance = erlang_c(slots, rate * seconds)
    spare = slots / seconds - rate
    if spare <= 0:
        return Waiting(1.0, math.inf)
    return Waiting(chance, chance / spare * (1 + variation**2) / 2)


def simulate(server: Server, arrivals: ArrayLike, work: ArrayLike) -> Floats:
    """Response times of requests that arrive at given times.

    Args:
        server: Which.
        arrivals: Shape `(N,)`: seconds, from earlier to later.
        work: Shape `(N,)`: what each takes, as a multiple of the mean in the same state.

    Returns:
        Shape `(N,)`: seconds from arrival to the end.
    """
    times, sizes = np.asarray(arrivals, np.float64), np.asarray(work, np.float64)
    return _play(server, times.tolist(), sizes.tolist(), 0)


def simulate_closed(server: Server, in_flight: int, work: ArrayLike) -> Floats:
    """Response times where the next request comes as soon as one is answered.

    Args:
        server: Which.
        in_flight: How many there always are, until the last ones.
        work: Shape `(N,)`, as `simulate` takes it.
    """
    sizes = np.asarray(work, np.float64).tolist()
    return _play(server, [0.0] * min(in_flight, len(sizes)), sizes, in_flight)


def _play(server: Server, times: list[float], work: list[float], in_flight: int) -> Floats:
    """One event after another; with `in_flight` every end is the arrival of the next request.

    All requests in work go on at one pace, so the work that each has had since it began is the
    difference of one clock, and who ends next is known without looking at the others.
    """
    came = list(times)
    ended = [0.0] * len(work)
    queue: deque[int] = deque()
    busy: list[tuple[float, int]] = []
    now = clock = 0.0
    coming = 0
    while coming < len(came) or busy:
        # Work is counted in means of a request that is alone.
        pace = 1 / server.service(len(busy)) if busy else 0.0
        done_at = now + max(0.0, busy[0][0] - clock) / pace if busy else math.inf
        if coming < len(came) and came[coming] <= done_at:
            clock += (came[coming] - now) * pace
            now = came[coming]
            queue.append(coming)
            coming += 1
        else:
            clock, now = busy[0][0], done_at
            _, one = heapq.heappop(busy)
            ended[one] = now
            if in_flight and len(came) < len(work):
                came.append(now)
        while queue and len(busy) < server.slots:
            one = queue.popleft()
            heapq.heappush(busy, (clock + work[one], one))
    return np.asarray(np.array(ended) - np.array(came))


def calibrate(points: Sequence[Measured]) -> Server:
    """The server that explains response times at several numbers of requests in flight best.

    For every number of slots, seconds and slowdown come from least squares on relative errors of
    the means; the number of slots with the least error is taken, the smaller of equal ones.

    Args:
        points: At two or more different numbers.

    Raises:
        ValueError: There are fewer.
    """
    known = sorted({one.in_flight for one in points})
    if len(known) < 2:
        raise ValueError(
            f"expected times at two or more numbers of requests in flight, got {known}"
        )
    ks = np.array([one.in_flight for one in points], np.float64)
    means = np.array([one.seconds.mean() for one in points])
    found = [(*_fitted(ks, means, slots), slots) for slots in range(1, known[-1] + 1)]
    least = min(error for error, *_ in found)
    _, seconds, slowdown, slots = next(one for one in found if one[0] <= least * (1 + 1e-9) + 1e-12)
    alone = next(one for one in points if one.in_flight == known[0])
    return Server(
        slots=slots, seconds=seconds, slowdown=slowdown, spread=alone.seconds / alone.seconds.mean()
    )


def _fitted(ks: Floats, means: Floats, slots: int) -> tuple[float, float, float]:
    """Sum of squared relative errors, seconds and slowdown."""
    queued = np.maximum(1.0, ks / slots)
    columns = np.stack([queued, queued * (np.minimum(ks, slots) - 1)], axis=1) / means[:, None]
    best = np.linalg.lstsq(columns, np.ones(len(ks)), rcond=None)[0]
    if best[1] < 0 or best[0] <= 0 or slots == 1:
        best = np.array([columns[:, 0].sum() / (columns[:, 0] ** 2).sum(), 0.0])
    error = float(((columns @ best - 1) ** 2).sum())
    return error, float(best[0]), float(best[1])


def percentile_of(
    server: Server,
    rate: float,
    share: float = 0.95,
    *,
    together: int = 1,
    count: int = 2000,
    seed: int = 0,
) -> float:
    """A percentile of response times where samples arrive at random.

    Args:
        server: Which.
        rate: Samples a second, as a Poisson process.
        share: In (0, 1).
        together: Requests of a sample, which arrive together; it is answered with its last one.
        count: Samples that are simulated; the first tenth is not counted.
        seed: Of arrivals and work.

    Returns:
        Seconds; infinite where more comes than can be served.
    """
    if rate * together >= server.capacity:
        return math.inf
    rng = np.random.default_rng(seed)
    arrivals = np.repeat(np.cumsum(rng.exponential(1 / rate, count)), together)
    work = rng.choice(server.spread, count * together)
    found = simulate(server, arrivals, work).reshape(count, together).max(axis=1)
    return float(np.quantile(found[count // 10 :], share))


def servers_for(
    server: Server, rate: float, seconds: float, share: float = 0.95, *, together: int = 1
) -> int:
    """The least number of equal servers, each with its even part of the arrivals.

    Args:
        server: One of them.
        rate: Samples a second in all.
        seconds: Within which `share` of the samples are to be answered.
        share: In (0, 1).
        together: Requests of a sample, as in `percentile_of`.

    Returns:
        1 or more; 0 where no number is enough, as one sample alone takes longer.
    """

    def enough(count: int) -> bool:
        return percentile_of(server, rate / count, share, together=together) <= seconds

    low, most = 0, max(1, math.ceil(rate * together / server.capacity))
    while not enough(most):
        if rate / most < 1e-3 / server.seconds:
            return 0
        low, most = most, 2 * most
    while most - low > 1:
        middle = (low + most) // 2
        low, most = (low, middle) if enough(middle) else (middle, most)
    return most
