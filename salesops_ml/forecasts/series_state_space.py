"""Two state space models of one series each: the airline model, and level, season and noise apart.

Their likelihoods are exact and small, so that each is fitted in some hundredths of a second. `Airline`
is seasonal ARIMA (0,1,1)(0,1,1), which Box and Jenkins drew up for passengers of airlines; `Components`
is a level that walks, a season of waves that change slowly, and noise, each with a variance of its own.
Series above zero are taken in logarithms, where seasons grow with the level.

Both speak the way that statsforecast's engine asks of a model, so that they are fitted by it beside its
own, on Spark too.

Sources: Box and Jenkins (1970); Harvey (1989), "Forecasting, structural time series models and the
Kalman filter"; fitted by statsmodels (`SARIMAX`, `UnobservedComponents`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from salesops_ml.forecasts.batch import Floats

_MOST_STEPS = 25
"""Steps of the search for the largest likelihood; more of them move no forecast that matters."""
_LARGEST_LOG = np.log(np.finfo(np.float64).max) - 1


@dataclass
class StateSpace:
    """What both have in common; `alias` is the model's name, `season` its periods, 1 for none."""

    alias: str
    season: int
    uses_exog = False
    prediction_intervals = None

    def __repr__(self) -> str:
        return self.alias

    def forecast(
        self, y: Floats, h: int, X: Any = None, X_future: Any = None, fitted: bool = False
    ) -> dict[str, Floats]:
        """The forecast of the next `h` periods, as `{"mean": (h,)}`."""
        values = np.asarray(y, dtype=np.float64)
        logs = bool(values.min() > 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = self._told(np.log(values) if logs else values, h)
        return {"mean": np.exp(np.minimum(told, _LARGEST_LOG)) if logs else told}

    def _told(self, values: Floats, horizon: int) -> Floats:
        raise NotImplementedError


class Airline(StateSpace):
    """Changes of changes from season to season, smoothed: SARIMAX (0,1,1)(0,1,1).

    Example:
        >>> line = np.arange(40.0) + np.tile([0.0, 5.0, -3.0, 1.0], 10)
        >>> Airline("sarimax", 4).forecast(line - 20, 4)["mean"].round(2).tolist()
        [20.0, 26.0, 19.0, 24.0]
    """

    def _told(self, values: Floats, horizon: int) -> Floats:
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        changes = np.diff(values)
        moved = changes[self.season :] - changes[: -self.season] if self.season > 1 else changes
        smoothed = (0, 0, 1, self.season) if self.season > 1 else (0, 0, 0, 0)
        model = SARIMAX(moved, order=(0, 0, 1), seasonal_order=smoothed, concentrate_scale=True)
        ahead = _largest_likelihood(model).forecast(horizon)
        if self.season > 1:
            for step in range(horizon):
                changes = np.append(changes, ahead[step] + changes[-self.season])
            ahead = changes[-horizon:]
        return np.asarray(values[-1] + np.cumsum(ahead))


class Components(StateSpace):
    """A walking level, a slowly changing season and noise: unobserved components.

    Example:
        >>> wave = 100 + np.tile([0.0, 5.0, -3.0, 1.0], 10)
        >>> Components("components", 4).forecast(wave, 4)["mean"].round(1).tolist()
        [100.0, 105.0, 97.0, 101.0]
    """

    def _told(self, values: Floats, horizon: int) -> Floats:
        from statsmodels.tsa.statespace.structural import UnobservedComponents

        waves = [{"period": self.season}] if self.season > 1 else None
        model = UnobservedComponents(values, level="llevel", freq_seasonal=waves)
        return np.asarray(_largest_likelihood(model).forecast(horizon))


def _largest_likelihood(model: Any) -> Any:
    return model.fit(disp=0, maxiter=_MOST_STEPS, method="lbfgs", cov_type="none", low_memory=True)
