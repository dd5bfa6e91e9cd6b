"""Where the chances of a click in the reward come from: a pCTR that learns in every epoch, or the user itself.

Knows neither files of a run nor the Ad-LLM.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from training.dataset.artifacts import write_json
from training.dataset.encoder import Encoder
from training.dataset.records import Ad, OnlineSample
from training.reward_model import saving
from training.reward_model.fit import FitSettings, fit
from training.reward_model.predictor import ClickPredictor, KnownUser, Oracle

REPORT = "fit.json"


class RewardSource(Protocol):
    """`name` is pctr, context or oracle; where `learns` is False, no online data is collected."""

    name: str
    learns: bool

    def update(
        self, samples: Sequence[OnlineSample], *, ads: Mapping[str, Ad], seed: int, start: Path | None, out: Path
    ) -> dict[str, Any]:
        """Lines 4 to 8 of Algorithm 1: psi_t from psi_{t-1} in `start`, into the folder `out`. Returns the report."""
        ...

    def load(self, folder: Path) -> ClickPredictor:
        """psi_t, from the folder that `update` filled."""
        ...


class LearnedClicks:
    """A pCTR, of the paper's kind or with context."""

    learns = True

    def __init__(self, kind: str, *, encoder: Encoder, allow_bias: bool = False) -> None:
        self.name, self._encoder, self._allow_bias = kind, encoder, allow_bias

    def update(
        self, samples: Sequence[OnlineSample], *, ads: Mapping[str, Ad], seed: int, start: Path | None, out: Path
    ) -> dict[str, Any]:
        """See RewardSource. Raises FitError, and BiasedPCTR where Assumption 4.1 fails and bias is not allowed."""
        fitted = fit(
            samples,
            kind=self.name,
            ads=ads,
            encoder=self._encoder,
            settings=FitSettings(seed=seed),
            start=start and saving.load(start, self.name, encoder=self._encoder),
            allow_bias=self._allow_bias,
        )
        shutil.rmtree(out, ignore_errors=True)
        saving.save(fitted.model, out)
        report = asdict(fitted.report) | {"unbiased": fitted.report.calibration.holds}
        write_json(out / REPORT, report)
        return report

    def load(self, folder: Path) -> ClickPredictor:
        return saving.load(folder, self.name, encoder=self._encoder)


class KnownClicks:
    """The Oracle: there is nothing to learn."""

    name, learns = "oracle", False

    def __init__(self, user: KnownUser) -> None:
        self._user = user

    def update(
        self, samples: Sequence[OnlineSample], *, ads: Mapping[str, Ad], seed: int, start: Path | None, out: Path
    ) -> dict[str, Any]:
        return {}

    def load(self, folder: Path) -> ClickPredictor:
        return Oracle(self._user)
