"""What the context pCTR sees of a shown ad beyond Eq. 3: how the answer reads around it, and what it is like.

Numbers only, so that they mean the same for an ad that nobody has seen before. Knows no user's mind: which of the
numbers matter, and how, is learned from clicks.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from training.dataset.encoder import Encoder
from training.dataset.placement import Reading
from training.dataset.records import Ad, Exposure

FEATURES = (
    # Where it stands.
    "place",  # of its sentence in the answer, 0..1
    "order",  # ads shown before it
    "has_before",  # is there an ad-free sentence before it?
    "has_after",
    # How it reads. Cosines are 0 where there is nothing to compare.
    "fit_before",  # cosine of its sentence with the ad-free sentence before it
    "fit_after",
    "fit_best",  # the better of the two
    "pushy",
    # What it is about.
    "query",  # cosine of ad and query
    "profile",  # cosine of ad and the best matching part of the profile
    "profile_known",
    # What else is shown.
    "n_ads",
    "ad_talk",  # share of the answer's words that stand in ad talk
    "rival",  # cosine with the shown ad that is most like it
    "rival_category",  # is that one of the same category?
    "rival_query",  # that one's cosine with the query
    "rival_profile",
)


def context_features(
    exposures: Sequence[Exposure], readings: Sequence[Reading], *, ads: Mapping[str, Ad], encoder: Encoder
) -> np.ndarray:
    """(shown ads, len(FEATURES)) float32: answers in order, each one's ads in the order of first mention."""
    texts: dict[str, None] = {}
    for exposure, reading in zip(exposures, readings, strict=True):
        if reading.ads:
            texts.update(dict.fromkeys((exposure.query.text, *exposure.profile.parts)))
        for placed in reading.ads:
            near = filter(None, (placed.before, placed.after))
            texts.update(dict.fromkeys((ads[placed.ad_id].text, placed.sentence, *near)))
    if not texts:
        return np.zeros((0, len(FEATURES)), np.float32)
    vectors = dict(zip(texts, encoder.encode(list(texts)), strict=True))
    rows = [
        row
        for exposure, reading in zip(exposures, readings, strict=True)
        if reading.ads
        for row in _of_one_answer(exposure, reading, ads, vectors)
    ]
    return np.array(rows, np.float32)


def _of_one_answer(
    exposure: Exposure, reading: Reading, ads: Mapping[str, Ad], vectors: Mapping[str, np.ndarray]
) -> list[tuple[float, ...]]:
    shown = [ads[placed.ad_id] for placed in reading.ads]
    rows = np.stack([vectors[ad.text] for ad in shown])  # (A, D)
    query = rows @ vectors[exposure.query.text]  # (A,)
    parts = [vectors[text] for text in exposure.profile.parts]
    profile = (rows @ np.stack(parts).T).max(1) if parts else np.zeros(len(shown))
    alike = rows @ rows.T  # (A, A)
    found = []
    for at, placed in enumerate(reading.ads):
        fits = [
            float(vectors[placed.sentence] @ vectors[near]) if near else None for near in (placed.before, placed.after)
        ]
        known = [fit for fit in fits if fit is not None]
        rival = _rival(at, shown, alike)
        found.append(
            (
                placed.place,
                at,
                bool(placed.before),
                bool(placed.after),
                fits[0] or 0.0,
                fits[1] or 0.0,
                max(known, default=0.0),
                placed.pushy,
                query[at],
                profile[at],
                bool(parts),
                len(shown),
                reading.ad_talk,
                *(
                    (0.0,) * 4
                    if rival is None
                    else (alike[at, rival], _same(shown, at, rival), query[rival], profile[rival])
                ),
            )
        )
    return found


def _rival(at: int, shown: Sequence[Ad], alike: np.ndarray) -> int | None:
    """The other shown ad that is most like this one: of its category first, then by meaning."""
    others = [n for n in range(len(shown)) if n != at]
    return max(others, key=lambda n: (_same(shown, at, n), alike[at, n]), default=None)


def _same(shown: Sequence[Ad], one: int, other: int) -> bool:
    return bool(shown[one].category) and shown[one].category == shown[other].category
