"""Score every open deal as of a day: how likely it is won, when, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.errors import DataError, ModelError, UsageError

BANDS = ("very low", "low", "medium", "high")
CHANCES = ("p_win", "p_lost", "p_open", "p_win_low", "p_win_high")
CLOSE_DAYS = ("close_p10", "close_p50", "close_p90")
REASONS_A_SIDE = 3


class Scorer(Protocol):
    """What batch scoring asks of a model."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Chances and close-date quantiles, one row per row of `frame`, same index."""
        ...

    def reasons(self, frame: pd.DataFrame) -> Sequence[Sequence[Mapping[str, Any]]]:
        """For each row its reasons: `feature`, `group`, `contribution` (log-odds), `text`."""
        ...


@runtime_checkable
class Cautious(Protocol):
    """A model that knows which of its scores should not be acted on."""

    def caution(self, frame: pd.DataFrame) -> Sequence[str | None]:
        """For each row why not; None where nothing speaks against its score."""
        ...


def score_open_deals(
    frame: pd.DataFrame,
    model: Scorer,
    *,
    as_of: datetime,
    model_version: str,
    bands: Sequence[float],
    scored_at: datetime | None = None,
) -> pd.DataFrame:
    """Scores of the open deals in `frame`, one row a deal, sorted by deal.

    Args:
        frame: one row per open deal, as it was known at `as_of`; columns `deal_id`, `as_of` and
            what the model reads.
        model: the champion.
        as_of: the day that the scores speak of, naive UTC.
        model_version: written beside each score, such as `deal_scores/3`.
        bands: three cut points of `p_win` between the four `BANDS`.
        scored_at: when the scores were made; `as_of` unless given.

    Returns:
        deal_id, as_of; p_win, p_lost, p_open at the model's horizon, p_win_low and p_win_high;
        close_p10, close_p50, close_p90 in days from `as_of` to winning, given that it is won, and
        the same as dates in close_p10_date, ...; band; reasons, a text; caution, why the score
        should not be acted on, empty where nothing speaks against it; scored_at; model_version.

    Raises:
        DataError: a deal stands twice, or a row is of another day.
        ModelError: the model's answer lacks a column, or a chance lies outside 0..1.
        UsageError: `bands` are not three rising cut points between 0 and 1.
    """
    _check_rows(frame, as_of)
    _check_bands(bands)
    rows = frame.sort_values("deal_id").reset_index(drop=True)
    said = _predict(model, rows)
    scores = pd.DataFrame({"deal_id": rows["deal_id"].astype(str), "as_of": pd.Timestamp(as_of)})
    for column in (*CHANCES, *CLOSE_DAYS):
        scores[column] = said[column].to_numpy(dtype=np.float64)
    for column in CLOSE_DAYS:
        scores[f"{column}_date"] = _dates(as_of, scores[column].to_numpy(dtype=np.float64))
    scores["band"] = band_of(scores["p_win"].to_numpy(dtype=np.float64), bands)
    told = model.reasons(rows) if len(rows) else []
    scores["reasons"] = [reasons_text(reasons) for reasons in told]
    warned: Sequence[Any] = [None] * len(rows)
    if isinstance(model, Cautious):
        warned = model.caution(rows)
    scores["caution"] = pd.Series(warned, index=scores.index, dtype=object)
    scores["scored_at"] = pd.Timestamp(scored_at or as_of)
    scores["model_version"] = model_version
    return scores.astype({"reasons": object, "model_version": object, "band": object})


def band_of(p_win: npt.NDArray[np.float64], bands: Sequence[float]) -> npt.NDArray[np.object_]:
    """The band of each chance; a chance on a cut point belongs to the band above it.

    Example:
        >>> band_of(np.array([0.1, 0.2, 0.79, 0.9]), (0.2, 0.5, 0.8)).tolist()
        ['very low', 'low', 'medium', 'high']
    """
    names = np.array(BANDS, dtype=object)
    found: npt.NDArray[np.object_] = names[np.searchsorted(np.asarray(bands), p_win, side="right")]
    return found


def reasons_text(reasons: Sequence[Mapping[str, Any]]) -> str:
    """The three strongest reasons for winning and the three strongest against, as one text.

    Example:
        >>> reasons_text([{"text": "met twice this month", "contribution": 0.8},
        ...               {"text": "no quote yet", "contribution": -0.3}])
        'For: met twice this month. Against: no quote yet.'
    """
    rising = sorted(reasons, key=lambda reason: (float(reason["contribution"]), reason["text"]))
    against = [str(reason["text"]) for reason in rising if float(reason["contribution"]) < 0]
    for_it = [str(reason["text"]) for reason in rising[::-1] if float(reason["contribution"]) > 0]
    sides = (("For", for_it), ("Against", against))
    parts = [f"{side}: {'; '.join(texts[:REASONS_A_SIDE])}." for side, texts in sides if texts]
    return " ".join(parts)


def _predict(model: Scorer, rows: pd.DataFrame) -> pd.DataFrame:
    """The model's answer, held to what it promises."""
    if rows.empty:
        return pd.DataFrame(columns=[*CHANCES, *CLOSE_DAYS], dtype=np.float64)
    said = model.predict(rows)
    missing = [column for column in (*CHANCES, *CLOSE_DAYS) if column not in said.columns]
    if missing or len(said) != len(rows):
        lack = f"lacks column `{missing[0]}`" if missing else f"has {len(said)} rows"
        raise ModelError(f"the model's answer to {len(rows)} deals {lack}")
    chances = said[list(CHANCES)].to_numpy(dtype=np.float64)
    if not ((chances >= -1e-9) & (chances <= 1 + 1e-9)).all():
        raise ModelError("the model gave a chance outside 0..1, or none; train it anew")
    return said


def _dates(as_of: datetime, days: npt.NDArray[np.float64]) -> pd.Series:
    """Days after `as_of` as calendar days (midnight); NaT where the days are not known."""
    moments = pd.Timestamp(as_of) + pd.to_timedelta(pd.Series(days), unit="D")
    return moments.dt.floor("D")


def _check_rows(frame: pd.DataFrame, as_of: datetime) -> None:
    twice = frame["deal_id"][frame["deal_id"].duplicated()]
    if len(twice):
        raise DataError(f"deal `{twice.iloc[0]}` stands twice among the open deals to score")
    other = frame["as_of"][pd.to_datetime(frame["as_of"]) != pd.Timestamp(as_of)]
    if len(other):
        raise DataError(f"a row to score is as of {other.iloc[0]}, not of {as_of}")


def _check_bands(bands: Sequence[float]) -> None:
    rising = all(low < high for low, high in zip((0.0, *bands), (*bands, 1.0), strict=True))
    if len(bands) != len(BANDS) - 1 or not rising:
        raise UsageError(
            f"`write_back.bands`: {list(bands)} are not three rising cut points between 0 and 1; "
            "write such as [0.2, 0.5, 0.8]"
        )
