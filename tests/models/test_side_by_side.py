"""Fits side by side: two at once, all on the same number of threads, and the same numbers."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Barrier, Event

import numpy as np
import pytest

from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models.hazards import HazardModel, Looks
from salesops_ml.models.side_by_side import side_by_side, threads_now


def test_two_fits_run_at_once_and_each_gives_its_own() -> None:
    meet = Barrier(2, timeout=30)
    with side_by_side(2) as start:
        fits = [start(lambda word: (meet.wait(), word)[1], word) for word in ("ends", "wins")]
        assert [fit.result() for fit in fits] == ["ends", "wins"]


def test_with_one_thread_a_fit_is_done_before_the_next() -> None:
    done: list[int] = []
    with side_by_side(1) as start:
        for turn in range(3):
            start(done.append, turn)
            assert done == list(range(turn + 1))


def test_while_fits_run_everybody_takes_the_same_number_of_threads() -> None:
    assert threads_now(8) == 8
    with side_by_side(6) as start:
        asked = [start(threads_now, threads).result() for threads in (1, 2, 8)]
        assert [*asked, threads_now(2)] == [3, 3, 3, 3]
    assert threads_now(8) == 8


def test_a_block_within_a_block_neither_waits_for_itself_nor_ends_the_outer() -> None:
    def within(depth: int) -> int:
        if depth == 0:
            return 1
        with side_by_side(2) as start:
            parts = [start(within, depth - 1) for _ in range(2)]
            return sum(part.result() for part in parts)

    with side_by_side(2) as start:
        counts = [start(within, 3), start(within, 2)]
        with side_by_side(2) as again:
            counts += [again(within, 1)]
        assert threads_now(2) == 1
        assert [count.result() for count in counts] == [8, 4, 2]


def test_an_error_of_a_fit_is_raised_and_leaves_no_block_open() -> None:
    with pytest.raises(ZeroDivisionError), side_by_side(2) as start:
        start(divmod, 1, 0).result()
    assert threads_now(2) == 2


def test_what_was_asked_for_is_done_though_nobody_waits_for_it_within_the_block() -> None:
    free = Event()
    with side_by_side(2) as start:
        fits = [start(lambda turn: (free.wait(30), turn)[1], turn) for turn in range(5)]
        free.set()
    assert [fit.result() for fit in fits] == list(range(5))


def test_what_has_not_begun_is_given_up_where_the_block_fails() -> None:
    free = Event()
    fits: list[Future[bool]] = []

    def failing() -> None:
        with side_by_side(2) as start:
            fits.extend(start(free.wait, 30) for _ in range(5))
            fits[-1].add_done_callback(lambda _: free.set())
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert [fit.cancelled() for fit in fits[2:]] == [True] * 3


def test_side_by_side_the_hazards_are_the_same_bit_for_bit(company) -> None:
    learn = company.data[company.block == "train"]
    looks = Looks.of(learn, labels_at(learn, company.borders.test_from))
    encoder, models = company.model.encoder, company.settings.models
    alone, beside = (
        HazardModel.fit(
            looks, encoder=encoder, models=models, seed=7, threads=threads, trees=(20, 20)
        ).curves(company.test)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(alone.cif_won, beside.cif_won)
    np.testing.assert_array_equal(alone.cif_lost, beside.cif_lost)


def test_curves_until_a_day_are_the_beginning_of_the_whole(company) -> None:
    whole, begun = (company.model.timing.curves(company.test, until=day) for day in (None, 14.0))
    assert begun.days[-1] == 14.0
    count = len(begun.days)
    np.testing.assert_array_equal(whole.days[:count], begun.days)
    np.testing.assert_array_equal(whole.cif_won[:, :count], begun.cif_won)
    np.testing.assert_array_equal(whole.cif_lost[:, :count], begun.cif_lost)
