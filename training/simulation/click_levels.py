"""What the built-in users do on answers as the base lab Ad-LLM writes them: the figures of docs/simulation.md.

Situations are written with the lab's tips and sentences over a catalogue of ads, so that only one thing differs at a
time: the topic of the ad, its place, its wording, how many there are.
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from campaigns.auction.candidates import MICROS, Candidate
from campaigns.auction.categories import CATEGORIES
from training.dataset.encoder import CachedEncoder, Encoder, SentenceEncoder
from training.dataset.records import Ad, Auction, Exposure, Profile, Query, Response
from training.lab import answers
from training.lab.answers import ANY, END, FITTING, PUSHY
from training.lab.catalogue import LabAd
from training.lab.questions import PEOPLE, Question, training_question
from training.lab.topics import load_topics
from training.simulation.agreement import Agreement, agreement
from training.simulation.user import BehaviouralUser, HeldOutUser, UserParameters

ON, OFF = True, False
# What stands where: place (0, 1, 2: a tip; END: after the close), style of the sentence, of the question's category?
SITUATIONS: dict[str, tuple[tuple[int, str, bool], ...]] = {
    "on topic, in the body": ((1, FITTING, ON),),
    "on topic, after the close": ((END, FITTING, ON),),
    "on topic, pushy, in the body": ((1, PUSHY, ON),),
    "on topic, pushy, after the close": ((END, PUSHY, ON),),
    "off topic, in the body": ((1, ANY, OFF),),
    "off topic, pushy, after the close": ((END, PUSHY, OFF),),
    "on topic, with one off topic": ((0, FITTING, ON), (2, ANY, OFF)),
    "on topic, with one similar": ((0, FITTING, ON), (2, FITTING, ON)),
    "on topic, with three off topic": ((0, FITTING, ON), (1, ANY, OFF), (2, ANY, OFF), (END, ANY, OFF)),
    "on topic, with four off topic": ((0, FITTING, ON), (0, ANY, OFF), (1, ANY, OFF), (2, ANY, OFF), (END, ANY, OFF)),
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Level:
    """The first ad of one situation: mean chance of a click of each user, and the mean of b * ctr - 10 N^2 (Eq. 8).

    The reward sums over all ads of the answer; `good_bid` sets every bid to 75, `any_bid` to the mean of 1..100.
    """

    situation: str
    ctr: float
    median_ctr: float
    held_out_ctr: float
    reward_at_any_bid: float
    reward_at_good_bid: float


def lab_exposures(*, ads: Mapping[str, Ad], count: int, seed: int) -> list[Exposure]:
    """Careless answers of the base lab Ad-LLM, over these ads as candidates, categories in turn."""
    rng = random.Random(f"lab-exposures/{seed}")
    lab = [LabAd(Candidate(ad_id=ad.id, title=ad.title, bid_micros=MICROS), ad.category) for ad in ads.values()]
    return [
        _exposure(rng, number, question, ads, answers.answer(rng, question=question, ads=lab))
        for number, question in _questions(rng, count)
    ]


def situation_exposures(*, ads: Mapping[str, Ad], situation: str, count: int, seed: int) -> list[Exposure]:
    """Answers with ads exactly as SITUATIONS says, in categories that hold two ads or more."""
    rng = random.Random(f"{situation}/{seed}")
    found = []
    for number, question in _questions(rng, count):
        topic = load_topics()[question.category]
        on = [ad for ad in ads.values() if ad.category == question.category]
        off = [ad for ad in ads.values() if ad.category != question.category]
        if len(on) < 2:
            continue
        rng.shuffle(on)
        rng.shuffle(off)
        thread = topic.threads[rng.randrange(3) if question.thread is None else question.thread]
        parts = [[tip] for tip in rng.sample(thread.tips, 3)] + [[rng.choice(answers.CLOSINGS)]]
        for place, style, on_topic in SITUATIONS[situation]:
            ad = (on if on_topic else off).pop()
            parts[place].append(rng.choice(answers.SENTENCES[style]).format(ad=f"@{ad.title}@[{ad.id}]"))
        opening = rng.choice(answers.OPENINGS)[0].format(name=topic.phrase)
        tips = [f"{n}. {' '.join(part)}" for n, part in enumerate(parts[:END], 1)]
        found.append(_exposure(rng, number, question, ads, "\n".join([opening, *tips, " ".join(parts[END])])))
    return found


def _questions(rng: random.Random, count: int) -> Iterator[tuple[int, Question]]:
    slugs = list(load_topics())
    for number in range(count):
        yield number, training_question(rng, category=slugs[number % len(slugs)])


def _exposure(rng: random.Random, number: int, question: Question, ads: Mapping[str, Ad], text: str) -> Exposure:
    """A user with the question's category among four interests."""
    likes = [question.category, *rng.sample([slug for slug in CATEGORIES if slug != question.category], 3)]
    rng.shuffle(likes)
    interests = tuple(CATEGORIES[slug].lower() for slug in likes)
    profile = Profile(id=f"u{number}", info=rng.choice(PEOPLE), interests=interests, split="train")
    query = Query(id=f"q{number}", profile_id=profile.id, text=question.text, split="train")
    auction = Auction(query.id, tuple(ads), (50,) * len(ads))
    return Exposure(profile, query, auction, Response(query.id, 0, text, tokens=len(text.split())))


def levels(
    *, user: BehaviouralUser, held_out: HeldOutUser, ads: Mapping[str, Ad], count: int = 200, seed: int = 0
) -> list[Level]:
    """One row a situation."""
    found = []
    for situation in SITUATIONS:
        exposures = situation_exposures(ads=ads, situation=situation, count=count, seed=seed)
        chances = np.array([list(ctr.values()) for ctr in user.ctr_many(exposures, ads=ads)])  # (answers, ads)
        others = np.array([list(ctr.values()) for ctr in held_out.ctr_many(exposures, ads=ads)])
        cost = 10 * chances.shape[1] ** 2
        clicks = float(chances.sum(1).mean())
        found.append(
            Level(
                situation=situation,
                ctr=float(chances[:, 0].mean()),
                median_ctr=float(np.median(chances[:, 0])),
                held_out_ctr=float(others[:, 0].mean()),
                reward_at_any_bid=50.5 * clicks - cost,
                reward_at_good_bid=75 * clicks - cost,
            )
        )
    return found


def similarities(*, ads: Mapping[str, Ad], encoder: Encoder, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Cosines of ads with the lab's questions and with interests, of one category ("on") or of two ("off")."""
    rng = random.Random(f"similarities/{seed}")
    questions = [question for _, question in _questions(rng, count)]
    rows = encoder.encode([ad.text for ad in ads.values()])
    asked = rows @ encoder.encode([question.text for question in questions]).T
    liked = rows @ encoder.encode([name.lower() for name in CATEGORIES.values()]).T
    of_ad = np.array([ad.category for ad in ads.values()])[:, None]
    same = of_ad == np.array([question.category for question in questions])[None]
    fits = of_ad == np.array(list(CATEGORIES))[None]
    return {
        "query, on topic": asked[same],
        "query, off topic": asked[~same],
        "interest, on topic": liked[fits],
        "interest, off topic": liked[~fits],
    }


@dataclass(frozen=True)
class ClickReport:
    """All of it: what `manage.py plot_click_model` prints and draws."""

    parameters: UserParameters
    similarities: Mapping[str, np.ndarray]
    levels: list[Level]
    agreement: Agreement

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Of each kind of pair, the cosines at QUANTILES."""
        return {
            kind: {f"{q:.0%}": round(float(at), 3) for q, at in zip(QUANTILES, np.quantile(x, QUANTILES), strict=True)}
            for kind, x in self.similarities.items()
        }

    def text(self) -> str:
        """Tables in Markdown, as they stand in docs/simulation.md."""
        heads = [f"{q:.0%}" for q in QUANTILES]
        lines = [f"| cosine of ad and | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
        for kind, row in self.quantiles().items():
            lines.append(f"| {kind} | " + " | ".join(f"{value:.2f}" for value in row.values()) + " |")
        lines += [
            "",
            "| situation | ctr | median | held-out | reward, mean bid | reward, bid 75 |",
            "|---|" + "---|" * 5,
        ]
        for row in self.levels:
            rewards = f"{row.reward_at_any_bid:+.1f} | {row.reward_at_good_bid:+.1f}"
            lines.append(
                f"| {row.situation} | {row.ctr:.3f} | {row.median_ctr:.3f} | {row.held_out_ctr:.3f} | {rewards} |"
            )
        found = self.agreement
        lines += ["", f"{found.first} and {found.second} on {found.answers} answers with {found.ads} ads:"]
        lines.append(
            f"mean ctr {_figure(found.first_ctr)} and {_figure(found.second_ctr)}, "
            f"correlation {_figure(found.correlation)}, of ranks {_figure(found.rank_correlation)}, "
            f"kappa of clicks {_figure(found.kappa)}"
        )
        for at in found.by_position:
            lines.append(f"ad {at.position + 1} ({at.ads} ads): {at.first_ctr:.3f} and {at.second_ctr:.3f}")
        return "\n".join(lines)


def report(*, catalogue: Path, answers: int, seed: int) -> ClickReport:
    """Measure both users with the packaged encoder, on so many answers (200 a situation at most).

    Raises EncoderError, OSError.
    """
    ads = read_catalogue(catalogue)
    encoder = CachedEncoder(SentenceEncoder())
    user, held_out = BehaviouralUser(encoder), HeldOutUser()
    exposures = lab_exposures(ads=ads, count=answers, seed=seed)
    return ClickReport(
        parameters=user.parameters,
        similarities=similarities(ads=ads, encoder=encoder, count=answers, seed=seed),
        levels=levels(user=user, held_out=held_out, ads=ads, count=min(answers, 200), seed=seed),
        agreement=agreement(
            first=user.feedback_many(exposures, ads=ads, seed=seed),
            second=held_out.feedback_many(exposures, ads=ads, seed=seed),
            names=(user.name, held_out.name),
        ),
    )


def read_catalogue(path: Path) -> dict[str, Ad]:
    """The demo market's ads by id."""
    advertisers = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for advertiser in advertisers for campaign in advertiser["campaigns"] for row in campaign["ads"]]
    return {row["id"]: Ad(row["id"], row["title"], row["category"], row["description"]) for row in rows}


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
