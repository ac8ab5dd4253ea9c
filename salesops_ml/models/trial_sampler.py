"""What to try next, by a rule that can be repeated: the seed and the number of the trial decide.

Ten trials in one call are then the same as five and five, and two workers that begin in the same
moment do not try the same thing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna


class ByNumber(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """The tree-structured Parzen estimator, seeded anew for each trial.

    Bergstra, Bardenet, Bengio & Kegl (2011), Advances in Neural Information Processing Systems 24.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._inner: Any = optuna.samplers.RandomSampler(seed=seed)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Seed the sampler of this trial."""
        words = np.random.SeedSequence([self.seed, trial.number]).generate_state(1)
        self._inner = optuna.samplers.TPESampler(seed=int(words[0]))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        """Which settings are drawn together."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        """Settings that are drawn together."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        """A setting that is drawn alone."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """What the sampler keeps of a trial."""
        self._inner.after_trial(study, trial, state, values)
