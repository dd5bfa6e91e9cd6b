"""Train a pCTR on clicks (Eq. 4; lines 4 to 8 of Algorithm 1), and tell how good it is on users it never saw.

Everything follows from samples and seed: one thread computes, and nothing depends on the order of a set.
"""

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn import metrics
from torch import nn

from training.dataset.encoder import Encoder, one_thread
from training.dataset.records import Ad, Exposure, OnlineSample
from training.reward_model.calibration import Calibration, bid_band, calibration
from training.reward_model.inputs import KINDS, Inputs, Progress, gather, silent
from training.reward_model.pctr import PCTR, UNKNOWN, batch, fresh

Part = Literal["fit", "stop", "check"]


class FitError(ValueError):
    """The samples cannot be learned from, or the earlier model is another kind. Says what is wrong."""


class BiasedPCTR(ValueError):
    """Assumption 4.1 does not hold: training must not go on with this pCTR. Carries the report."""

    def __init__(self, report: "FitReport") -> None:
        groups = report.calibration.biased
        told = ", ".join(
            f"{group.by} {group.name}: pCTR {group.predicted:.3f}, CTR {group.observed:.3f}" for group in groups[:5]
        )
        super().__init__(f"the pCTR is biased (Assumption 4.1) in {len(groups)} groups: {told}")
        self.report = report


@dataclass(frozen=True)
class FitSettings:
    """How a pCTR is trained; learning rate and batch are those of App. B.2.2, the paper leaves out the rest."""

    learning_rate: float = 1e-3  # Adam
    batch: int = 256
    epochs: int = 100  # at most
    patience: int = 4  # epochs without a better log loss on the profiles kept to stop
    warm_patience: int = 15  # where it goes on from an earlier model, whose lead a few passes do not make up
    unknown: float = 0.1  # share of users, and of ads, hidden in each batch: so the default embeddings are learned
    stop_share: float = 0.1  # of the profiles
    check_share: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class FitReport:
    """What came of a fit. Log loss, AUC and calibration are on the profiles kept to check; rows are shown ads."""

    model: str
    encoder: str
    seed: int
    warm: bool  # was an earlier model updated?
    profiles: dict[str, int]  # by part: fit, stop, check
    rows: dict[str, int]
    epochs: int
    best_epoch: int  # 0: the model it began with
    history: tuple[dict[str, float], ...]  # log loss by epoch, on fit (while it learned) and on stop
    auc: float | None  # None where nothing, or everything, was clicked
    log_loss: float
    base_rate: float  # CTR of the rows to fit
    base_log_loss: float  # of predicting the base rate everywhere
    true_auc: float | None  # of the user's own chances, where the feedback tells them: no pCTR can do better
    true_log_loss: float | None
    calibration: Calibration


@dataclass(frozen=True)
class Fitted:
    model: PCTR
    report: FitReport


def part_of(profile_id: str, *, split: str, settings: FitSettings) -> Part:
    """Which part a profile belongs to: by its id alone, so that no later update learns from those kept to check.

    Test profiles of the world are always among those to check.
    """
    drawn = random.Random(repr(("pctr", profile_id))).random()
    if split == "test" or drawn < settings.check_share:
        return "check"
    return "stop" if drawn < settings.check_share + settings.stop_share else "fit"


def fit(
    samples: Sequence[OnlineSample],
    *,
    kind: str,
    ads: Mapping[str, Ad],
    encoder: Encoder,
    settings: FitSettings = FitSettings(),
    start: PCTR | None = None,
    allow_bias: bool = False,
    progress: Progress = silent,
) -> Fitted:
    """Train the kind named on the samples, from nothing or from an earlier model (psi_{t-1}, line 6).

    Raises FitError, and BiasedPCTR where Assumption 4.1 fails on the profiles kept to check, unless `allow_bias`.
    """
    if kind not in KINDS:
        raise FitError(f"there is no pCTR named {kind!r}: choose one of {', '.join(KINDS)}")
    if start is not None and (start.name, start.encoder.name) != (kind, encoder.name):
        raise FitError(f"the earlier model is {start.name} over {start.encoder.name}, not {kind} over {encoder.name}")
    # 1) One row per shown ad, each in the part of its profile.
    exposures = [sample.exposure for sample in samples]
    inputs = gather(exposures, ads=ads, encoder=encoder, kind=KINDS[kind], progress=progress)
    clicked = labels(samples, inputs)
    parts = np.array([part_of(e.profile.id, split=e.profile.split, settings=settings) for e in exposures] or [""])
    rows = {part: np.flatnonzero(parts[inputs.exposure] == part) for part in ("fit", "stop", "check")}
    for part, found in rows.items():
        if not len(found):
            raise FitError(f"no ad was shown to the profiles of the part to {part}: more answers are needed")

    # 2) The network: the earlier one, or a fresh one.
    users = sorted({inputs.user_ids[at] for at in rows["fit"]})
    known = sorted({inputs.ad_ids[at] for at in rows["fit"]})
    if start is None:
        model = fresh(
            KINDS[kind], inputs=inputs, rows=rows["fit"], users=users, ads=known, encoder=encoder, seed=settings.seed
        )
    else:
        model = start.grown(users=users, ads=known)

    # 3) Epochs, until the profiles kept to stop are predicted no better.
    patience = settings.patience if start is None else settings.warm_patience
    history, best_epoch = _train(model, inputs, clicked, rows, settings, patience, progress)

    # 4) What is it worth?
    check = rows["check"]
    predicted, truth = model.chances(inputs, check), clicked[check]
    base = float(clicked[rows["fit"]].mean())
    true = _true_chances(samples, inputs, check)
    report = FitReport(
        model=kind,
        encoder=encoder.name,
        seed=settings.seed,
        warm=start is not None,
        profiles={part: len({inputs.user_ids[at] for at in found}) for part, found in rows.items()},
        rows={part: len(found) for part, found in rows.items()},
        epochs=len(history),
        best_epoch=best_epoch,
        history=tuple(history),
        auc=_auc(truth, predicted),
        log_loss=_log_loss(truth, predicted),
        base_rate=base,
        base_log_loss=_log_loss(truth, np.full(len(truth), base)),
        true_auc=None if true is None else _auc(truth, true),
        true_log_loss=None if true is None else _log_loss(truth, true),
        calibration=calibration(
            predicted=predicted,
            clicked=truth,
            cluster=[exposures[at].query.id for at in inputs.exposure[check]],
            by=groups_of(exposures, inputs, check),
        ),
    )
    if not (report.calibration.holds or allow_bias):
        raise BiasedPCTR(report)
    return Fitted(model, report)


def labels(samples: Sequence[OnlineSample], inputs: Inputs) -> np.ndarray:
    """(R,) float32: was the shown ad clicked? Raises FitError where the feedback is not on the ads that are shown."""
    told = [{ad.ad_id: ad.clicked for ad in sample.feedback.ads} for sample in samples]
    shown = np.bincount(inputs.exposure, minlength=len(samples)) if samples else np.zeros(0)
    for sample, feedback, count in zip(samples, told, shown, strict=True):
        if len(feedback) != count:
            response = sample.exposure.response
            raise FitError(
                f"answer {response.sample} to {response.query_id}: feedback on {len(feedback)} of {count} ads"
            )
    try:
        return np.array([told[at][ad] for at, ad in zip(inputs.exposure, inputs.ad_ids, strict=True)], np.float32)
    except KeyError as error:
        raise FitError(f"an answer shows {error}, and its feedback does not speak of it") from None


def groups_of(exposures: Sequence[Exposure], inputs: Inputs, rows: np.ndarray) -> dict[str, list[str]]:
    """The position, bid band and ad of each of the rows, for `calibration`."""
    first = {}
    for row, at in enumerate(inputs.exposure):
        first.setdefault(at, row)
    bids: dict[int, dict[str, int]] = {}
    for at in set(inputs.exposure[rows].tolist()):
        auction = exposures[at].auction
        bids[at] = dict(zip(auction.ad_ids, auction.bids, strict=True))
    return {
        "position": [str(row - first[inputs.exposure[row]] + 1) for row in rows],
        "bid": [bid_band(bids[inputs.exposure[row]][inputs.ad_ids[row]]) for row in rows],
        "ad": [inputs.ad_ids[row] for row in rows],
    }


def _train(
    model: PCTR,
    inputs: Inputs,
    clicked: np.ndarray,
    rows: Mapping[str, np.ndarray],
    settings: FitSettings,
    patience: int,
    progress: Progress,
) -> tuple[list[dict[str, float]], int]:
    """Leaves the weights of the best epoch in the model. Returns log loss by epoch, and which was best."""
    rng = np.random.default_rng([settings.seed, 4])  # Eq. 4
    users, numbers = model.numbers(inputs)
    stop = rows["stop"]
    best, best_epoch = _log_loss(clicked[stop], model.chances(inputs, stop)), 0
    best_state = copy.deepcopy(model.network.state_dict())
    optimizer = torch.optim.Adam(model.network.parameters(), lr=settings.learning_rate)
    measure = nn.BCEWithLogitsLoss()  # Eq. 4
    history: list[dict[str, float]] = []
    with one_thread():
        for epoch in range(1, settings.epochs + 1):
            progress("epochs", epoch - 1, settings.epochs)
            order, total = rng.permutation(rows["fit"]), 0.0
            model.network.train()
            for start in range(0, len(order), settings.batch):
                at = order[start : start + settings.batch]
                hidden = rng.random((2, len(at))) < settings.unknown
                shown = batch(
                    inputs,
                    at,
                    users=np.where(hidden[0], UNKNOWN, users[at]),
                    ads=np.where(hidden[1], UNKNOWN, numbers[at]),
                )
                loss = measure(model.network(*shown), torch.from_numpy(clicked[at]))
                if not torch.isfinite(loss):
                    raise FitError(f"the loss is {loss.item()} in epoch {epoch}: the samples or settings are at fault")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(at)
            model.network.eval()
            reached = _log_loss(clicked[stop], model.chances(inputs, stop))
            history.append({"fit": total / len(order), "stop": reached})
            if reached < best:
                best, best_epoch, best_state = reached, epoch, copy.deepcopy(model.network.state_dict())
            elif epoch - best_epoch >= patience:
                break
    model.network.load_state_dict(best_state)
    if best_epoch:
        _center(model, inputs, clicked, np.concatenate([rows["fit"], rows["stop"]]))
    progress("epochs", settings.epochs, settings.epochs)
    return history, best_epoch


def _center(model: PCTR, inputs: Inputs, clicked: np.ndarray, rows: np.ndarray) -> None:
    """Put the last bias where Eq. 4 is least over the rows: Adam leaves it a little beside, and so the mean pCTR."""
    chances, moved = np.clip(model.chances(inputs, rows), 1e-9, 1 - 1e-9), 0.0
    logits = np.log(chances) - np.log1p(-chances)
    for _ in range(20):  # Newton; the loss is convex in the bias
        chances = 1 / (1 + np.exp(-(logits + moved)))
        curve = float((chances * (1 - chances)).sum())
        if curve < 1e-9:
            return
        moved += float((clicked[rows] - chances).sum()) / curve
    with torch.no_grad():
        model.network.layers[-1].bias += moved


def _log_loss(clicked: np.ndarray, predicted: np.ndarray) -> float:
    return float(metrics.log_loss(clicked, predicted, labels=[0, 1]))


def _auc(clicked: np.ndarray, predicted: np.ndarray) -> float | None:
    return float(metrics.roc_auc_score(clicked, predicted)) if 0 < clicked.sum() < len(clicked) else None


def _true_chances(samples: Sequence[OnlineSample], inputs: Inputs, rows: np.ndarray) -> np.ndarray | None:
    """The user's own chances of the rows, for the report alone; None where the feedback does not tell them."""
    told = {at: {ad.ad_id: ad.ctr for ad in samples[at].feedback.ads} for at in set(inputs.exposure[rows].tolist())}
    chances = [told[inputs.exposure[row]][inputs.ad_ids[row]] for row in rows]
    return None if None in chances else np.array(chances)
