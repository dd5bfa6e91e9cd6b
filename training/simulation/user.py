"""Two built-in users whose chance of a click is known exactly: the truth to train on, and a held-out one for audits.

Both weigh what Appendix B.1 tells the judge to weigh: relevance to query and profile, nativeness, competition of
similar ads, flooding. Bids never enter. docs/simulation.md explains each effect and shows it. They share how an answer
is read (placement) and nothing else: other representation of text, other form, other numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.dataset.encoder import CachedEncoder, Encoder, HashEncoder
from training.dataset.placement import Reading, readings
from training.dataset.records import Ad, AdFeedback, Auction, Exposure, Feedback, Profile, Query, Response
from training.simulation.clicks import uniform

CHUNK = 1000  # answers whose vectors are held at once


@dataclass(frozen=True)
class UserParameters:
    """What the behavioural user weighs. Similarities are cosines of all-MiniLM-L6-v2; see docs/simulation.md.

    On the 100 ads of the catalogue and the lab's questions, cosine of ad and query: same category 5 % / 50 % / 95 % at
    0.06 / 0.25 / 0.43, other categories -0.06 / 0.06 / 0.21. Ad and best matching interest: 0.19 / 0.37 / 0.56 where
    the category is among the interests, else 0.07 / 0.17 / 0.36. Ads among themselves: 0.18 / 0.34 / 0.46, and
    0.01 / 0.09 / 0.29 across categories. An ad's sentence and a tip: 0.09 / 0.28 / 0.51 against -0.01 / 0.12 / 0.30.
    """

    base: float = 0.75  # the chance of a click where nothing speaks against it
    # Relevance: logistic in the cosine with the query, moved by the profile ("based primarily on your question").
    query_midpoint: float = 0.22
    relevance_slope: float = 28.0
    profile_weight: float = 0.35
    profile_neutral: float = 0.25  # a best interest this close neither helps nor hurts
    # Nativeness: factors on the chance.
    fit_midpoint: float = 0.2  # cosine of the ad's sentence with the better fitting neighbour
    fit_slope: float = 15.0
    fit_floor: float = 0.5  # left of the chance where the sentence does not fit at all
    outside_body: float = 0.65  # before anything is said, or tacked on after the close
    pushy: float = 0.55  # hard-sell wording
    # Competition: ads of one category, or at least this similar, divide one click.
    similar_from: float = 0.5
    rivalry: float = 2.0  # 1 is the plain logit choice; at 2 a second, equal ad of even odds wins no click in all
    # Flooding: the user gives up on all ads of the answer.
    flood_at: float = 3.7  # ads at which half of the users give up
    flood_width: float = 0.4
    talk_at: float = 0.55  # share of ad talk at which half give up
    talk_width: float = 0.07

    def relevance(self, *, query: np.ndarray, profile: np.ndarray) -> np.ndarray:
        """0..1 from cosines with the query and with the best matching part of the profile (nan: none is known)."""
        moved = query + self.profile_weight * np.nan_to_num(profile - self.profile_neutral)
        return _logistic(self.relevance_slope * (moved - self.query_midpoint))

    def nativeness(self, *, fit: np.ndarray, inside: np.ndarray, pushy: np.ndarray) -> np.ndarray:
        """0..1 from the cosine with the neighbours, whether the ad stands inside the body, and its wording."""
        fits = self.fit_floor + (1 - self.fit_floor) * _logistic(self.fit_slope * (fit - self.fit_midpoint))
        return fits * np.where(inside, 1.0, self.outside_body) * np.where(pushy, self.pushy, 1.0)

    def patience(self, *, n_ads: int, ad_talk: float) -> float:
        """The chance that the user does not give up on the ads of this answer; 1 for one short ad."""

        def left(value: float, at: float, width: float, free: float) -> float:
            return float(_logistic(np.float64((at - value) / width)) / _logistic(np.float64((at - free) / width)))

        ads = left(max(1, n_ads), self.flood_at, self.flood_width, 1)
        return ads * left(ad_talk, self.talk_at, self.talk_width, 0)

    def choice(self, attraction: np.ndarray) -> np.ndarray:
        """Chances of similar ads, at most one of which is clicked, from the chances that each would have alone.

        o_i / (1 + o_i + rivalry * sum of the other o_j), with o the odds; the sum never passes 1 for rivalry >= 1.
        """
        odds = attraction / (1 - np.minimum(attraction, 0.999))
        return odds / (1 + odds + self.rivalry * (odds.sum() - odds))


class _KnownUser(ABC):
    """What both users share: reading answers, and drawing clicks so that chances are exact."""

    name: str

    def feedback(
        self,
        *,
        profile: Profile,
        query: Query,
        ads: Mapping[str, Ad],
        auction: Auction,
        response: Response,
        seed: int | str,
    ) -> Feedback:
        """See ClickModel."""
        return self.feedback_many([Exposure(profile, query, auction, response)], ads=ads, seed=seed)[0]

    def feedback_many(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad], seed: int | str) -> list[Feedback]:
        """See ClickModel. Every AdFeedback carries its true ctr."""
        return [
            self._draw(exposure.response, outcome, seed)
            for exposure, outcome in zip(exposures, self._outcomes_many(exposures, ads), strict=True)
        ]

    def ctr(
        self, *, profile: Profile, query: Query, ads: Mapping[str, Ad], auction: Auction, response: Response
    ) -> dict[str, float]:
        """ad id -> the true chance of a click, for every shown ad in order. No sampling."""
        return self.ctr_many([Exposure(profile, query, auction, response)], ads=ads)[0]

    def ctr_many(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad]) -> list[dict[str, float]]:
        """The same for many answers."""
        return [outcome.ctr() for outcome in self._outcomes_many(exposures, ads)]

    def _outcomes_many(self, exposures: Sequence[Exposure], ads: Mapping[str, Ad]) -> list["_Outcome"]:
        outcomes: list[_Outcome] = []
        for start in range(0, len(exposures), CHUNK):
            chunk = exposures[start : start + CHUNK]
            outcomes += self._outcomes(chunk, readings(chunk, ads), ads)
        return outcomes

    @abstractmethod
    def _outcomes(
        self, exposures: Sequence[Exposure], readings: Sequence[Reading], ads: Mapping[str, Ad]
    ) -> list["_Outcome"]:
        """What this user makes of each answer."""

    def _draw(self, response: Response, outcome: "_Outcome", seed: int | str) -> Feedback:
        key = (self.name, seed, response.query_id, response.sample)
        stays = uniform(*key) < outcome.patience
        clicked = set()
        for group in outcome.groups:
            # One number decides for the whole group: the ads' chances lie one after another in [0, 1).
            drawn = uniform(*key, outcome.ids[group[0]])
            ends = np.cumsum([0.0, *(outcome.chances[at] for at in group)])
            for at, (begin, end) in zip(group, pairwise(ends), strict=True):
                if stays and begin <= drawn < end:
                    clicked.add(at)
        told = (
            AdFeedback(ad_id=ad_id, position=at, clicked=at in clicked, ctr=ctr)
            for at, (ad_id, ctr) in enumerate(outcome.ctr().items())
        )
        return Feedback(query_id=response.query_id, sample=response.sample, ads=tuple(told))


@dataclass(frozen=True)
class _Outcome:
    """One answer's ads: chances of those who do not give up, in groups of which at most one is clicked."""

    ids: tuple[str, ...]
    chances: tuple[float, ...]
    groups: tuple[tuple[int, ...], ...]
    patience: float

    def ctr(self) -> dict[str, float]:
        # Rounded: what stands in files must not hang on the last bits of a sum.
        return {id_: round(self.patience * chance, 6) for id_, chance in zip(self.ids, self.chances, strict=True)}


class BehaviouralUser(_KnownUser):
    """The built-in truth: relevance x nativeness, then a choice among similar ads, then patience with the answer.

    alone_i = base * relevance_i * nativeness_i
    ctr_i   = patience(answer) * choice(alone of the ads similar to i)
    """

    def __init__(self, encoder: Encoder, *, parameters: UserParameters = UserParameters()) -> None:
        self.name = "behavioural"
        self.parameters = parameters
        self._encoder = encoder if isinstance(encoder, CachedEncoder) else CachedEncoder(encoder)

    def _outcomes(
        self, exposures: Sequence[Exposure], readings: Sequence[Reading], ads: Mapping[str, Ad]
    ) -> list[_Outcome]:
        texts = _Texts()
        for exposure, reading in zip(exposures, readings, strict=True):
            if reading.ads:
                texts.add(exposure.query.text, *exposure.profile.parts)
            for placed in reading.ads:
                texts.add(ads[placed.ad_id].text, placed.sentence)
                texts.add(*filter(None, (placed.before, placed.after)))
        vectors = texts.encode(self._encoder)
        return [
            self._outcome(exposure, reading, ads, vectors)
            for exposure, reading in zip(exposures, readings, strict=True)
        ]

    def _outcome(
        self, exposure: Exposure, reading: Reading, ads: Mapping[str, Ad], vectors: Mapping[str, np.ndarray]
    ) -> _Outcome:
        par = self.parameters
        if not reading.ads:
            return _Outcome((), (), (), 1.0)
        shown = [ads[placed.ad_id] for placed in reading.ads]
        rows = np.stack([vectors[ad.text] for ad in shown])  # (A, D)
        persons = [vectors[text] for text in exposure.profile.parts]
        relevance = par.relevance(
            query=rows @ vectors[exposure.query.text],
            profile=(rows @ np.stack(persons).T).max(1) if persons else np.full(len(shown), np.nan),
        )
        fits = [
            max((float(vectors[p.sentence] @ vectors[near]) for near in (p.before, p.after) if near), default=0.0)
            for p in reading.ads
        ]
        nativeness = par.nativeness(
            fit=np.array(fits),
            inside=np.array([bool(p.before and p.after) for p in reading.ads]),
            pushy=np.array([p.pushy for p in reading.ads]),
        )
        alone = par.base * relevance * nativeness
        groups = _groups(shown, rows @ rows.T >= par.similar_from)
        chances = np.zeros(len(shown))
        for group in groups:
            chances[list(group)] = par.choice(alone[list(group)])
        patience = par.patience(n_ads=len(shown), ad_talk=reading.ad_talk)
        return _Outcome(tuple(ad.id for ad in shown), tuple(map(float, chances)), groups, patience)


@dataclass(frozen=True)
class HeldOutParameters:
    """What the held-out user weighs, as a sum: each term adds to or takes from one score."""

    score: float = -4.7
    relevance: float = 20.0  # per unit of lexical cosine with query or answer
    profile: float = 4.0
    depth: float = 1.0  # an ad in the middle of the answer rather than at its rim
    shared: float = 2.0  # per unit of cosine with the neighbouring sentence
    pushy: float = -1.6
    ceiling: float = 0.8
    fatigue: float = 0.65  # each further ad in the answer is looked at this often
    most_ads: int = 4  # with more, nobody clicks
    most_talk: float = 0.6


class HeldOutUser(_KnownUser):
    """A second user of a different make, for audits only: never train on it.

    It compares spelling (parts of words) instead of meaning, knows the ad's category by its word, adds up what speaks
    for a click in one logistic score, and reads ads in order: it clicks the first that convinces it, then no similar
    one.
    """

    def __init__(self, *, parameters: HeldOutParameters = HeldOutParameters()) -> None:
        self.name = "held-out"
        self.parameters = parameters
        self._encoder = CachedEncoder(HashEncoder(dimensions=2048, pieces=(3, 5)), most=20_000)

    def _outcomes(
        self, exposures: Sequence[Exposure], readings: Sequence[Reading], ads: Mapping[str, Ad]
    ) -> list[_Outcome]:
        texts = _Texts()
        for exposure, reading in zip(exposures, readings, strict=True):
            if reading.ads:
                texts.add(exposure.query.text, exposure.profile.text, reading.rest)
            for placed in reading.ads:
                texts.add(_spelled(ads[placed.ad_id]), placed.sentence, placed.before, placed.after)
        vectors = texts.encode(self._encoder)
        return [
            self._outcome(exposure, reading, ads, vectors)
            for exposure, reading in zip(exposures, readings, strict=True)
        ]

    def _outcome(
        self, exposure: Exposure, reading: Reading, ads: Mapping[str, Ad], vectors: Mapping[str, np.ndarray]
    ) -> _Outcome:
        par = self.parameters
        shown = [ads[placed.ad_id] for placed in reading.ads]
        if not shown:
            return _Outcome((), (), (), 1.0)
        # 1) What would a user think of each ad, were it the only one?
        looks = []
        for ad, placed in zip(shown, reading.ads, strict=True):
            row = vectors[_spelled(ad)]
            topic = max(row @ vectors[exposure.query.text], row @ vectors[reading.rest])
            near = max(
                vectors[placed.sentence] @ vectors[placed.before], vectors[placed.sentence] @ vectors[placed.after]
            )
            score = par.score + par.relevance * topic + par.profile * (row @ vectors[exposure.profile.text])
            score += par.depth * bool(placed.before and placed.after) + par.shared * near + par.pushy * placed.pushy
            looks.append(par.ceiling * float(_logistic(np.float64(score))))
        # 2) Read in order: of similar ads, a later one is looked at only if no earlier one was clicked.
        rows = np.stack([vectors[_spelled(ad)] for ad in shown])
        groups = _groups(shown, rows @ rows.T >= 0.6)
        chances = np.zeros(len(shown))
        for group in groups:
            left = 1.0
            for at in group:
                chances[at] = left * looks[at]
                left -= chances[at]
        # 3) Every further ad tires, and too many end it.
        gone = len(shown) > par.most_ads or reading.ad_talk > par.most_talk
        patience = 0.0 if gone else par.fatigue ** (len(shown) - 1)
        return _Outcome(tuple(ad.id for ad in shown), tuple(map(float, chances)), groups, patience)


class _Texts:
    """Distinct texts to encode in one go."""

    def __init__(self) -> None:
        self._all: dict[str, None] = {}

    def add(self, *texts: str) -> None:
        self._all.update(dict.fromkeys(texts))

    def encode(self, encoder: Encoder) -> dict[str, np.ndarray]:
        return dict(zip(self._all, encoder.encode(list(self._all)), strict=True)) if self._all else {}


def _spelled(ad: Ad) -> str:
    return f"{ad.title} {ad.description} {ad.category.replace('-', ' ')}"


def _groups(shown: Sequence[Ad], alike: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Ads that compete: of one category or alike (A, A), directly or through others. In order of first mention."""
    group = list(range(len(shown)))
    for i, ad in enumerate(shown):
        for j in range(i):
            if alike[i, j] or (ad.category and ad.category == shown[j].category):
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    return tuple(tuple(i for i, g in enumerate(group) if g == one) for one in sorted(set(group)))


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
