from __future__ import annotations

import time

import pytest

from loadprofiles import poller
from loadprofiles.poller import Poller
from tests.loadprofiles.loop import HandLoop


def test_it_is_called_in_every_idle_turn_while_it_is_on() -> None:
    loop, turns = HandLoop(), list[int]()
    it = Poller(loop, turns.append)
    loop.turn(0.001)
    assert not turns
    it.on()
    it.on()
    loop.turn()
    loop.turn()
    assert len(turns) == 2
    assert turns == sorted(turns)
    it.off()
    it.off()
    loop.turn(0.001)
    assert len(turns) == 2


def test_it_may_be_turned_off_from_within_its_turn() -> None:
    loop = HandLoop()
    it = Poller(loop, lambda now: it.off())
    it.on()
    loop.turn()
    assert not loop.idlers


def test_only_turns_that_did_nothing_are_left_out_of_the_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = HandLoop()
    instants = iter([0, 1_000, 3_000, 3_000 + poller.IDLE_TURN_NS, 14_000 + poller.IDLE_TURN_NS])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(instants))
    it = Poller(loop, lambda now: None)
    it.on()
    for _ in range(4):  # two empty turns, one that was busy just long enough, and one of 11 us
        loop.turn()
    assert it.polled_s == pytest.approx(3e-6)


def test_closing_stops_it() -> None:
    loop = HandLoop()
    it = Poller(loop, lambda now: None)
    it.on()
    it.close()
    assert not loop.idlers
