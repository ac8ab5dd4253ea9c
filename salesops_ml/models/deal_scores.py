"""One distribution per deal: P(won), P(won by any day) and close-date quantiles from one pair of curves.

The hazards give the timing, the stack of voices gives the mass at the horizon, and the curves are
rescaled to it; so `p_win` is where the curve of winning ends, and
p_win + p_lost + p_open = 1 for every deal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.attribute_win import AttributeWin
from salesops_ml.models.boosting import load_text
from salesops_ml.models.calibration import NONE, Calibration
from salesops_ml.models.curves import QUANTILES, Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.hazards import HazardModel
from salesops_ml.models.incidence_boosting import IncidenceModel
from salesops_ml.models.known_deals import NO_SIGNAL, KnownDeals
from salesops_ml.models.logistic import LogisticWin
from salesops_ml.models.median_days import MedianDays
from salesops_ml.models.probability_interval import ProbabilityInterval
from salesops_ml.models.reasons import Parts, strongest
from salesops_ml.models.score_parts import score_parts
from salesops_ml.models.signal import BASE_RATE
from salesops_ml.models.timing_calibration import TimingMap
from salesops_ml.models.voices import Timing, Voices
from salesops_ml.models.win_mass import Stack
from salesops_ml.snapshots.features import VERSION, FeatureSpec

FORMAT = 2


@dataclass(frozen=True)
class DealScores:
    """The registered model; make one with `models.training.fit_deal_scores`.

    Attributes:
        spec: the features that it reads.
        horizon_days: where its curves end.
        voices: what draws the curves, and the other voices on winning.
        stack: how the voices join; a lone voice `hazards` where there was too little to weigh.
        interval: bands around p_win.
        calibration: the map from the joint score to p_win.
        bend: the map from the curves' timing to when held-out deals closed.
        median: what moves the middle of the curves; None where held-out deals did not ask for it.
        facts: what it was trained on, for the model card.
        known: what it remembers of the deals it learned from, for reasons and caution.
    """

    spec: FeatureSpec
    horizon_days: int
    voices: Voices
    stack: Stack
    interval: ProbabilityInterval
    calibration: Calibration = NONE
    bend: TimingMap = field(default_factory=TimingMap.straight)
    median: MedianDays | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    known: KnownDeals = field(default_factory=KnownDeals)

    @property
    def timing(self) -> Timing:
        """What draws the curves."""
        return self.voices.timing

    @property
    def encoder(self) -> Encoder | None:
        """The matrix that the learned voices read; None where a table is the model."""
        return self.voices.encoder

    @property
    def classifier(self) -> Any:
        """The boosted classifier, None where a table is the model."""
        return self.voices.classifier

    def curves(self, frame: pd.DataFrame) -> Curves:
        """Chances of having won and lost by each day up to the horizon."""
        timing = self.timing.curves(frame)
        p_won = self.calibration.apply(self.stack.combine(self.voices.said(frame, timing)))
        curves = timing.with_win(p_won)
        if self.median is not None:
            curves = self.median.move(curves, frame)
        return self.bend.apply(curves, frame)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Scores, one row per row of `frame`, same index (see `scores_from`)."""
        return scores_from(self.curves(frame), frame.index, self.interval)

    def remembering(self, learn: pd.DataFrame, won: npt.NDArray[np.bool_]) -> DealScores:
        """The same model with a memory of the looks it learned from.

        Args:
            won: which of them are of deals known as won.
        """
        return replace(self, known=KnownDeals.fit(learn, won, self.encoder))

    def parts(self, frame: pd.DataFrame, p_win: Floats | None = None) -> Parts:
        """Additive contributions: groups, `base` and `calibration` sum to the log-odds of p_win.

        Args:
            p_win: the published chances of `frame`, where they are at hand.
        """
        if p_win is None:
            p_win = self.predict(frame)["p_win"].to_numpy()
        return score_parts(self.voices, self.stack, self.known, frame, p_win)

    def reasons(self, frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
        """For each row the strongest reasons for and against, as plain values; see `models.reasons`.

        Where the base rate is the answer there are none.
        """
        if frame.empty:
            return []
        told = strongest(self.parts(frame), frame, self.known)
        return [[vars(reason) for reason in row] for row in told]

    def caution(self, frame: pd.DataFrame) -> list[str | None]:
        """For each row why its score should not be acted on, None where nothing speaks against it."""
        told = self.known.cautions(frame, self.encoder)
        for row in told:
            row.extend([NO_SIGNAL] if self.facts.get("answer") == BASE_RATE else [])
        return ["; ".join(row) or None for row in told]

    def save(self, folder: Path) -> None:
        """LightGBM text and JSON; nothing that runs on loading."""
        folder.mkdir(parents=True, exist_ok=True)
        if not isinstance(self.timing, HazardTable):
            self.timing.save(folder)
        if self.voices.attributes is not None:
            self.voices.attributes.save(folder)
        if self.classifier is not None:
            (folder / "classifier.txt").write_text(self.classifier.model_to_string())
        if self.median is not None:
            self.median.save(folder)
        table = self.timing.to_dict() if isinstance(self.timing, HazardTable) else None
        logistic = self.voices.logistic
        content = {
            "format": FORMAT,
            "spec": json.loads(self.spec.to_json()),
            "horizon_days": self.horizon_days,
            "table": table,
            "stage_age": self.voices.table.to_dict() if self.voices.table else None,
            "attributes": self.voices.attributes is not None,
            "rival": isinstance(self.timing, IncidenceModel),
            "stack": vars(self.stack),
            "calibration": self.calibration.to_dict(),
            "bend": self.bend.to_dict(),
            "median": self.median.to_dict() if self.median else None,
            "interval": self.interval.to_dict(),
            "encoder": self.encoder.to_dict() if self.encoder else None,
            "classifier": self.classifier is not None,
            "logistic": logistic.to_dict() if logistic else None,
            "facts": self.facts,
            "known": self.known.to_dict(),
        }
        (folder / "deal_scores.json").write_text(json.dumps(content, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path, *, threads: int = 2) -> DealScores:
        """The model that `save` wrote.

        Raises:
            ModelError: the folder holds no model of this format or of another feature version.
        """
        path = Path(folder) / "deal_scores.json"
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: no deal model can be read here: {error}") from error
        _check_versions(path, content)
        encoder = Encoder.from_dict(content["encoder"]) if content["encoder"] else None
        return cls(
            spec=FeatureSpec.from_json(json.dumps(content["spec"])),
            horizon_days=content["horizon_days"],
            voices=_load_voices(path.parent, content, encoder, threads),
            stack=_load_stack(content["stack"]),
            interval=ProbabilityInterval.from_dict(content["interval"]),
            calibration=Calibration.from_dict(content["calibration"]),
            bend=TimingMap.from_dict(content["bend"]),
            median=_load_median(path.parent, content.get("median"), threads),
            facts=content["facts"],
            known=KnownDeals.from_dict(content.get("known")),
        )


def scores_from(
    curves: Curves, index: pd.Index, interval: ProbabilityInterval | None
) -> pd.DataFrame:
    """The published scores of a set of curves.

    Columns: p_win, p_lost, p_open at the horizon; p_win_low, p_win_high (90 %; equal to p_win
    without `interval`); close_p10, p50, p90: days to winning, given that it is won by the horizon;
    outcome_p10, p50, p90: days to either outcome, given one by the horizon.
    """
    p_win, p_lost = curves.cif_won[:, -1], curves.cif_lost[:, -1]
    low, high = interval.around(p_win) if interval else (p_win, p_win)
    scores: dict[str, npt.NDArray[np.float64]] = {
        "p_win": p_win,
        "p_lost": p_lost,
        "p_open": np.clip(1 - p_win - p_lost, 0, 1),
        "p_win_low": low,
        "p_win_high": high,
    }
    for word, given in (("close", "won"), ("outcome", "either")):
        days = curves.quantiles(given=given)
        scores |= {f"{word}_p{round(q * 100)}": days[:, j] for j, q in enumerate(QUANTILES)}
    return pd.DataFrame(scores, index=index)


def _check_versions(path: Path, content: dict[str, Any]) -> None:
    if content.get("format") != FORMAT:
        raise ModelError(f"{path}: format {content.get('format')}, this version reads {FORMAT}")
    version = content["spec"]["version"]
    if version != VERSION:
        raise ModelError(
            f"{path}: was trained on features of version {version}, this package builds version"
            f" {VERSION}; train anew with `salesops train`"
        )


def _load_voices(
    folder: Path, content: dict[str, Any], encoder: Encoder | None, threads: int
) -> Voices:
    classifier = _load_classifier(folder) if content["classifier"] else None
    logistic = _load_logistic(content["logistic"], encoder)
    timing = _load_timing(folder, content, encoder, threads)
    table = HazardTable.from_dict(content["stage_age"]) if content["stage_age"] else None
    attributes = AttributeWin.load(folder, threads=threads) if content["attributes"] else None
    return Voices(timing, encoder, classifier, logistic, table, attributes, threads)


def _load_timing(
    folder: Path, content: dict[str, Any], encoder: Encoder | None, threads: int
) -> Timing:
    if content["table"] is not None or encoder is None:
        return HazardTable.from_dict(content["table"])
    kind = IncidenceModel if content["rival"] else HazardModel
    return kind.load(folder, encoder, content["horizon_days"], threads)


def _load_median(folder: Path, values: dict[str, Any] | None, threads: int) -> MedianDays | None:
    return MedianDays.load(folder, values, threads=threads) if values else None


def _load_stack(values: dict[str, Any]) -> Stack:
    return Stack(tuple(values["voices"]), tuple(values["weights"]), values["intercept"])


def _load_classifier(folder: Path) -> Any:
    return load_text((folder / "classifier.txt").read_text())


def _load_logistic(values: dict[str, Any] | None, encoder: Encoder | None) -> LogisticWin | None:
    return LogisticWin.from_dict(values, encoder) if values and encoder else None
