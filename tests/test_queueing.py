"""The queue against known values of Erlang's formula, against theory, and against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from groundingme.queueing import (
    Measured,
    Server,
    calibrate,
    erlang_c,
    percentile_of,
    servers_for,
    simulate,
    simulate_closed,
    waiting,
)


def by_sums(slots: int, load: float) -> float:
    """Erlang C as textbooks print it."""
    last = load**slots / math.factorial(slots) * slots / (slots - load)
    return last / (sum(load**k / math.factorial(k) for k in range(slots)) + last)


@pytest.mark.parametrize(
    ("slots", "load", "chance"),
    # Of published tables of Erlang C.
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.5541), (10, 8.0, 0.4092)],
)
def test_erlang_c_has_the_values_of_the_tables(slots: int, load: float, chance: float) -> None:
    assert erlang_c(slots, load) == pytest.approx(chance, abs=5e-5)
    assert erlang_c(slots, load) == pytest.approx(by_sums(slots, load), rel=1e-12)


def test_a_full_server_lets_everybody_wait() -> None:
    assert erlang_c(3, 3.0) == erlang_c(3, 9.0) == 1.0
    assert erlang_c(3, 0.0) == 0.0
    assert waiting(3, 3.0, 1.0).mean == math.inf
    with pytest.raises(ValueError, match="1 slot or more"):
        erlang_c(0, 1.0)


@pytest.mark.parametrize(("slots", "load"), [(1, 0.7), (4, 3.2), (10, 8.0)])
def test_the_simulation_waits_as_erlang_says(slots: int, load: float) -> None:
    rng = np.random.default_rng(5)
    count = 60_000
    arrivals = np.cumsum(rng.exponential(2 / load, count))
    work = rng.exponential(1, count)
    waited = simulate(Server(slots=slots, seconds=2.0), arrivals, work) - 2 * work
    expected = waiting(slots, load / 2, 2.0)
    assert (waited > 1e-6).mean() == pytest.approx(expected.chance, rel=0.05)
    assert waited.mean() == pytest.approx(expected.mean, rel=0.1)


def test_constant_times_wait_half_as_long() -> None:
    # Pollaczek and Khinchine: exact for one slot.
    rng = np.random.default_rng(6)
    arrivals = np.cumsum(rng.exponential(1 / 0.8, 60_000))
    found = simulate(Server(slots=1, seconds=1.0), arrivals, np.ones(60_000)) - 1
    assert waiting(1, 0.8, 1.0, 0.0).mean == pytest.approx(0.8 / (2 * 0.2))
    assert found.mean() == pytest.approx(2.0, rel=0.07)


def test_the_percentile_of_one_slot_is_that_of_an_exponential() -> None:
    times = np.random.default_rng(1).exponential(1, 5000)
    server = Server(slots=1, seconds=1.0, spread=times / times.mean())
    found = percentile_of(server, 0.5, 0.95, count=30_000)
    assert found == pytest.approx(math.log(20) / 0.5, rel=0.1)
    assert percentile_of(server, 1.0) == math.inf
    # A sample of two requests is answered with the later one: of a slot each, a maximum of two.
    wide = Server(slots=100, seconds=1.0, spread=times / times.mean())
    both = percentile_of(wide, 0.01, 0.5, together=2, count=20_000)
    assert both == pytest.approx(-math.log(1 - math.sqrt(0.5)), rel=0.05)


def test_a_closed_loop_obeys_little() -> None:
    server = Server(slots=4, seconds=1.0, slowdown=0.25)
    work = np.random.default_rng(2).exponential(1, 8000)
    for in_flight in (1, 3, 8):
        found = simulate_closed(server, in_flight, work).mean()
        assert found == pytest.approx(server.response(in_flight), rel=0.05)
    assert server.capacity == pytest.approx(4 / 1.75)


def test_calibration_finds_the_server_again() -> None:
    true = Server(slots=6, seconds=0.5, slowdown=0.05)
    points = [Measured(k, np.full(9, true.response(k))) for k in (1, 2, 4, 8, 16)]
    found = calibrate(points)
    assert found.slots == 6
    assert found.seconds == pytest.approx(0.5)
    assert found.slowdown == pytest.approx(0.05)
    with pytest.raises(ValueError, match="two or more"):
        calibrate(points[:1])


def test_the_number_of_servers_is_the_least_that_is_enough() -> None:
    times = np.random.default_rng(3).exponential(1, 2000)
    server = Server(slots=2, seconds=1.0, spread=times / times.mean())
    count = servers_for(server, 10.0, 4.0)
    assert percentile_of(server, 10 / count) <= 4.0 < percentile_of(server, 10 / (count - 1))
    assert servers_for(server, 0.1, 100.0) == 1
    # One request alone takes longer than that.
    assert servers_for(server, 1.0, 0.1) == 0
