"""What a pCTR is shown: one row per shown ad, its texts as vectors, its context as numbers. Knows no network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.dataset.encoder import Encoder
from training.dataset.placement import readings
from training.dataset.records import Ad, Exposure
from training.reward_model.context import FEATURES, context_features

CHUNK = 500  # answers, and texts, that are read and encoded together

Progress = Callable[[str, int, int], None]  # stage, done, in all


def silent(stage: str, done: int, total: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True)
class Kind:
    """Which inputs a pCTR has. `hidden` are the widths of its layers."""

    name: str
    texts: bool  # the vectors of query and answer
    users: int  # width of the user embedding, 0 for none
    ads: int  # width of the ad embedding
    context: bool
    hidden: tuple[int, ...]


PAPER = Kind("pctr", texts=True, users=64, ads=32, context=False, hidden=(128, 64, 32))  # Eq. 3, App. B.2.2
CONTEXT = Kind("context", texts=False, users=0, ads=0, context=True, hidden=(64, 32))
KINDS = {kind.name: kind for kind in (PAPER, CONTEXT)}


@dataclass(frozen=True)
class Inputs:
    """R shown ads. `query` and `answer` are rows of `texts`, so that a text that many ads share stands there once."""

    exposure: np.ndarray  # (R,) which of the answers shows the ad
    ad_ids: list[str]
    user_ids: list[str]
    query: np.ndarray  # (R,)
    answer: np.ndarray  # (R,)
    texts: np.ndarray  # (T, D) float32; (1, 0) where the kind sees no texts
    context: np.ndarray  # (R, F) float32; (R, 0) where it sees no context

    def __len__(self) -> int:
        return len(self.ad_ids)


def gather(
    exposures: Sequence[Exposure],
    *,
    ads: Mapping[str, Ad],
    encoder: Encoder,
    kind: Kind,
    progress: Progress = silent,
) -> Inputs:
    """Read the answers and encode what the kind sees of them."""
    numbers: dict[str, int] = {}
    at, ad_ids, user_ids, query, answer, context = [], [], [], [], [], []
    for start in range(0, len(exposures), CHUNK):
        progress("answers read", start, len(exposures))
        chunk = exposures[start : start + CHUNK]
        read = readings(chunk, ads)
        for number, (exposure, reading) in enumerate(zip(chunk, read, strict=True), start):
            for placed in reading.ads:
                at.append(number)
                ad_ids.append(placed.ad_id)
                user_ids.append(exposure.profile.id)
                if kind.texts:
                    query.append(numbers.setdefault(exposure.query.text, len(numbers)))
                    answer.append(numbers.setdefault(exposure.response.text, len(numbers)))
        if kind.context:
            context.append(context_features(chunk, read, ads=ads, encoder=encoder))
    progress("answers read", len(exposures), len(exposures))
    rows = len(ad_ids)
    return Inputs(
        exposure=np.array(at, np.int64),
        ad_ids=ad_ids,
        user_ids=user_ids,
        query=np.array(query, np.int64) if kind.texts else np.zeros(rows, np.int64),
        answer=np.array(answer, np.int64) if kind.texts else np.zeros(rows, np.int64),
        texts=_encoded(list(numbers), encoder, progress) if numbers else np.zeros((1, 0), np.float32),
        context=np.concatenate(context) if context else np.zeros((rows, len(FEATURES) * kind.context), np.float32),
    )


def _encoded(texts: Sequence[str], encoder: Encoder, progress: Progress) -> np.ndarray:
    parts = []
    for start in range(0, len(texts), CHUNK):
        progress("texts encoded", start, len(texts))
        parts.append(encoder.encode(texts[start : start + CHUNK]))
    progress("texts encoded", len(texts), len(texts))
    return np.concatenate(parts)
