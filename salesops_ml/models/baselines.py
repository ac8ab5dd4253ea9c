"""What every score is held against, on the same rows: the simple answers that anyone could give.

`base_rate`: what became of all deals. `stage_age`: what usually becomes of a deal in this stage at
this age. `logistic`: a regression on the same features. `crm_probability`: what the CRM itself says
of the stage. `naive_bayes`: as a widely used open CRM scores leads. All give the same published
columns, so that every table can show them side by side.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from salesops_ml.evaluation.splits import Borders, labels_at
from salesops_ml.models.deal_scores import scores_from
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.logistic import LogisticWin
from salesops_ml.models.naive_bayes import naive_bayes_win
from salesops_ml.models.voices import fit_table, horizon_target, two_sided
from salesops_ml.settings import Settings


def baseline_scores(
    data: pd.DataFrame,
    block: pd.Series,
    borders: Borders | None,
    *,
    settings: Settings,
    logistic: LogisticWin | None = None,
) -> dict[str, pd.DataFrame]:
    """Published scores of each baseline for the test rows, learned from train and calibration.

    A baseline that the data cannot carry (no CRM probabilities, one outcome only) is left out.

    Args:
        logistic: the regression learned from the same rows, where a deal model has it as a voice.
    """
    learn = data[block.isin(["train", "calibration"])].sort_values(["deal_id", "as_of"])
    test = data[block == "test"]
    labels = labels_at(learn, borders.test_from if borders else None)
    base = fit_table(learn, labels, settings, by_stage=False).curves(test)
    table = fit_table(learn, labels, settings, by_stage=True).curves(test)
    done = {"base_rate": base, "stage_age": table}
    won, weight = horizon_target(labels, settings.models.horizon_days)
    encoder = Encoder.fit(learn)
    if two_sided(won, weight):
        if logistic is None:
            logistic = LogisticWin.fit(learn, won, weight, encoder=encoder, seed=settings.seed)
        done["logistic"] = table.with_win(logistic.predict(test))
    guessed = naive_bayes_win(learn, labels["event"].to_numpy(np.int64), test, encoder=encoder)
    if guessed is not None:
        done["naive_bayes"] = table.with_win(guessed)
    if "f_crm_probability" in test.columns and test["f_crm_probability"].notna().any():
        said = test["f_crm_probability"].to_numpy(float)
        fill = np.nanmean(learn["f_crm_probability"].to_numpy(float))
        said = np.clip(np.where(np.isnan(said), fill, said), 0.0, 1.0)
        done["crm_probability"] = table.with_win(said)
    return {name: scores_from(curves, test.index, None) for name, curves in done.items()}
