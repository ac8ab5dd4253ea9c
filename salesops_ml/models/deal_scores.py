"""One distribution per deal: P(won), P(won by any day) and close-date quantiles from one pair of curves.

The hazards give the timing, the stack of voices gives the mass at the horizon, and the curves are
rescaled to it; so `p_win` is where the curve of winning ends, and
p_win + p_lost + p_open = 1 for every deal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.boosting import load_text, predict
from salesops_ml.models.curves import QUANTILES, Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.hazards import HazardModel
from salesops_ml.models.logistic import LogisticWin
from salesops_ml.models.probability_interval import ProbabilityInterval
from salesops_ml.models.reasons import contributions, strongest
from salesops_ml.models.win_mass import Stack
from salesops_ml.snapshots.features import VERSION, FeatureSpec

FORMAT = 1


@dataclass(frozen=True)
class DealScores:
    """The registered model; make one with `models.training.fit_deal_scores`.

    Attributes:
        spec: the features that it reads.
        horizon_days: where its curves end.
        timing: hazards, learned or tabulated.
        stack: how the voices join; a lone voice `hazards` where there was too little to weigh.
        classifier, logistic: the other voices, None where unused.
        interval: bands around p_win.
        facts: what it was trained on, for the model card.
    """

    spec: FeatureSpec
    horizon_days: int
    timing: HazardModel | HazardTable
    stack: Stack
    interval: ProbabilityInterval
    encoder: Encoder | None = None
    classifier: Any = None
    logistic: LogisticWin | None = None
    threads: int = 2
    facts: dict[str, Any] = field(default_factory=dict)

    def curves(self, frame: pd.DataFrame) -> Curves:
        """Chances of having won and lost by each day up to the horizon."""
        timing = self.timing.curves(frame)
        p_won = self.stack.combine(self.voices(frame, timing))
        won, lost = timing.cif_won[:, -1], timing.cif_lost[:, -1]
        not_won = np.maximum(1 - won, 1e-12)
        return timing.with_mass(p_won, (1 - p_won) * np.clip(lost / not_won, 0, 1))

    def voices(self, frame: pd.DataFrame, timing: Curves) -> dict[str, Floats]:
        """P(won by the horizon) according to each voice of the stack."""
        said = {"hazards": timing.cif_won[:, -1]}
        if self.classifier is not None and self.encoder is not None:
            matrix = self.encoder.transform(frame)
            said["classifier"] = predict(self.classifier, matrix, threads=self.threads)
        if self.logistic is not None:
            said["logistic"] = self.logistic.predict(frame)
        return said

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Scores, one row per row of `frame`, same index (see `scores_from`)."""
        return scores_from(self.curves(frame), frame.index, self.interval)

    def reasons(self, frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
        """For each row the strongest reasons for and against, as plain values; see `models.reasons`.

        Without a boosted classifier (too few deals) there are none.
        """
        if self.classifier is None or self.encoder is None:
            return [[] for _ in range(len(frame))]
        parts = contributions(self.classifier, self.encoder, frame, threads=self.threads)
        return [[vars(reason) for reason in row] for row in strongest(parts, frame)]

    def save(self, folder: Path) -> None:
        """LightGBM text and JSON; nothing that runs on loading."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.timing, HazardModel):
            self.timing.save(folder)
        if self.classifier is not None:
            (folder / "classifier.txt").write_text(self.classifier.model_to_string())
        table = self.timing.to_dict() if isinstance(self.timing, HazardTable) else None
        content = {
            "format": FORMAT,
            "spec": json.loads(self.spec.to_json()),
            "horizon_days": self.horizon_days,
            "table": table,
            "stack": vars(self.stack),
            "interval": self.interval.to_dict(),
            "encoder": self.encoder.to_dict() if self.encoder else None,
            "classifier": self.classifier is not None,
            "logistic": self.logistic.to_dict() if self.logistic else None,
            "facts": self.facts,
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
            timing=_load_timing(path.parent, content, encoder, threads),
            stack=_load_stack(content["stack"]),
            interval=ProbabilityInterval.from_dict(content["interval"]),
            encoder=encoder,
            classifier=_load_classifier(path.parent) if content["classifier"] else None,
            logistic=_load_logistic(content["logistic"], encoder),
            threads=threads,
            facts=content["facts"],
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


def _load_timing(
    folder: Path, content: dict[str, Any], encoder: Encoder | None, threads: int
) -> HazardModel | HazardTable:
    if content["table"] is not None or encoder is None:
        return HazardTable.from_dict(content["table"])
    return HazardModel.load(folder, encoder, content["horizon_days"], threads)


def _load_stack(values: dict[str, Any]) -> Stack:
    return Stack(tuple(values["voices"]), tuple(values["weights"]), values["intercept"])


def _load_classifier(folder: Path) -> Any:
    return load_text((folder / "classifier.txt").read_text())


def _load_logistic(values: dict[str, Any] | None, encoder: Encoder | None) -> LogisticWin | None:
    return LogisticWin.from_dict(values, encoder) if values and encoder else None
