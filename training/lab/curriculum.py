"""What the lab Ad-LLM practises: tasks that make one prompt prefix and the branches learned behind it.

A group shares one candidate list, so that a hundred candidates are read once for many questions about them. A task is
a function from a random generator to a group; a new skill is one more function here and one more share in a phase of
the recipe.
Knows tokens, not tensors.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from chat.adllm import prompts
from training.lab import answers, catalogue, questions, reading, tokenizer
from training.lab.groups import IGNORED, SLUGS, Branch, Group, Line, Look, Role, Vocabulary, topic_number
from training.lab.markers import (
    ALONE,
    MARKERS,
    copied_markers,
    copied_out,
    followers,
    liner_looks,
    random_titles,
    spelled,
    unless_free,
)

READ_EVERY = 6  # tokens of an answer between two looks at the topic
READING_SHARES = (0.25, 0.25, 0.35, 0.15)  # of the kinds of reading questions
LOOKUP_KEYS, LOOKUP_SHARES = ("topic", "bid", "best"), (0.4, 0.2, 0.4)
BEST_OF = ", highest bid"
ELSEWHERE = 1 / 8  # of the questions: about none of the categories
QUESTION = ""  # names the words of the question that tell its topic, among those of interests
FIRST_SOLD = 0.8  # of the visitors: what they like first, the list has; in short lists, few interests are met by chance
OWN_BRANDS = 0.5  # of the lists; in the others, brands sell several products
ALIKE = 0.8  # of the lists that are copied: brands of the same few parts
FIRST_FEW = 3  # markers in a short copy
SLIPS = 0.25  # of the markers: of any ad, and only what follows their free tokens is learned
MOST_AGAIN = 8  # tokens of a random title that stand again behind its bid
LIST_THEM = "Name all candidate ads."

Task = Callable[[random.Random, Vocabulary, int, int], Group]


def copy_random(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Write records as markers, in random order. Learned: every token that the list and what is written decide."""
    group, lines = _listed(rng, vocabulary, random_titles(rng, vocabulary.words, count))
    group.branches.append(copied_markers(rng, vocabulary, lines, most=ALONE))
    return group


def copy_ads(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """The same in a whole prompt, with titles as advertisers write them, whose topics should be known. Most lists have
    brands of a few parts, since what a marker shares with others is where copies go wrong; several branches are short,
    since first markers go wrong most.
    """
    own = rng.random() < OWN_BRANDS
    ads = catalogue.make_candidates(rng, count=count, parts=vocabulary.parts, own_brands=own, few=ALIKE)
    group, lines = _prefix(vocabulary, ads)
    for _ in range(branches):
        group.branches.append(
            _named(rng, vocabulary, lines, most=ALONE if branches == 1 else rng.randint(1, FIRST_FEW))
        )
    return group


def look_up(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Topics or bids, each followed by the marker of an ad that has it (of a topic, often: the one that bids most).

    A plain copy leaves open which record comes first, so a marker's first token is decided only here and in answers,
    where there are few. Which ad to look at is soon learned; to hand on the token found there takes thousands of them.
    """
    key = rng.choices(LOOKUP_KEYS, LOOKUP_SHARES)[0]
    slugs = rng.sample(SLUGS, min(len(SLUGS), max(2, count // 3) if key == "best" else count))
    ads = catalogue.make_candidates(
        rng, count=count, wanted=slugs, slugs=slugs, own_brands=rng.random() < OWN_BRANDS, parts=vocabulary.parts
    )
    group, lines = _prefix(vocabulary, ads)
    having: dict[str | int, list[catalogue.LabAd]] = defaultdict(list)
    for ad in ads:
        if of := group.prefix[lines[ad.candidate.ad_id].pick - 1] if key == "bid" else ad.category:
            having[of].append(ad)
    asked = []
    for of in rng.sample(list(having), min(len(having), MARKERS)):
        if key == "bid":
            words = [of]
        else:
            words = vocabulary.ids(f" {reading.topic_words(rng, of)}{BEST_OF if key == 'best' else ''}:")
        right = reading.highest(having[of]) if key == "best" else having[of]
        asked.append((words, None if key == "bid" else of, [lines[ad.candidate.ad_id] for ad in right]))
    group.branches.append(_looked_up(rng, vocabulary, len(group.prefix), asked, list(lines.values())))
    return group


def look_for_highest(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """The marker of the ad that bids most of all, again and again: bids compared, and nothing else."""
    ads = catalogue.make_candidates(rng, count=count, own_brands=rng.random() < OWN_BRANDS, parts=vocabulary.parts)
    group, lines = _prefix(vocabulary, ads)
    right = [lines[ad.candidate.ad_id] for ad in reading.highest(ads)]
    asked = [(vocabulary.ids(f"{BEST_OF}:"), None, right)]
    group.branches.append(_looked_up(rng, vocabulary, len(group.prefix), asked, list(lines.values())))
    return group


def _looked_up(
    rng: random.Random,
    vocabulary: Vocabulary,
    height: int,
    asked: Sequence[tuple[list[int], str | None, list[Line]]],
    lines: Sequence[Line],
) -> Branch:
    """Questions, as words with the category they ask about, each followed by the marker of one of the right lines, or
    by a slip.
    """
    follows = followers(lines) if len(asked) > 1 else {}
    tokens: list[int] = []
    labels: list[int] = []
    looks: list[Look] = []
    topics: list[tuple[int, int]] = []
    decides: list[int] = []
    for words, slug, right in asked:
        asked_at = height + len(tokens)
        at = len(tokens) + len(words)  # of the sign
        if slip := bool(follows) and rng.random() < SLIPS:
            line = rng.choice(lines)
            looks += copied_out(line, at, follows)
        else:
            line = rng.choice(right)
        tokens += [*words, rng.choice((vocabulary.sign, vocabulary.spaced_sign)), *line.marker[1:], vocabulary.line_end]
        labels += [IGNORED] * (len(words) + 1)
        labels += [*(unless_free(line, follows) if slip else line.marker)[1:], IGNORED]
        if slip:
            continue
        picks = tuple(line.pick for line in right)
        if slug is not None:
            looks.append(Look(at + 1, Role.reader, tuple(range(asked_at, asked_at + len(words)))))
            topics += [(at + n, SLUGS.index(slug)) for n in range(line.beginning)]
        looks += [Look(at + 1, role, picks) for role in (Role.selector, Role.copier)]
        looks += spelled(line, at, told=tuple(range(asked_at, asked_at + len(words))) if slug is not None else ())
        if len(picks) == 1:
            decides.append(at + 1)
    return Branch(tokens, labels, tuple(decides), tuple(looks), tuple(topics))


def _named(rng: random.Random, vocabulary: Vocabulary, lines: dict[str, Line], *, most: int = MARKERS) -> Branch:
    """A visitor who wants all ads named, and the answer: nothing but markers."""
    copied = copied_markers(rng, vocabulary, list(lines.values()), most=most)
    context, _ = asked(vocabulary, text=LIST_THEM, about="", profile=questions.visitor(rng).profile)
    behind = len(context)
    return Branch(
        context + copied.tokens,
        [IGNORED] * behind + copied.labels,
        tuple(behind + at for at in copied.decides),
        tuple(replace(look, at=behind + look.at) for look in copied.looks),
    )


def _listed(rng: random.Random, vocabulary: Vocabulary, titles: list[tuple[int, ...]]) -> tuple[Group, list[Line]]:
    """A list of records with bids that differ, still without branches, and its lines."""
    prefix = list(vocabulary.opening)
    lines = []
    for title, bid in zip(titles, rng.sample(vocabulary.bids, len(titles)), strict=True):
        ad_id = (rng.choice(vocabulary.marker_ids), rng.choice(vocabulary.numbers))
        marker = (vocabulary.sign, *title, *ad_id, vocabulary.close)
        begins = title[: rng.randint(1, MOST_AGAIN)]
        lines.append(Line(len(prefix), len(prefix) + len(marker), marker, len(begins)))
        prefix += [*marker[:-1], bid, *begins, vocabulary.line_end]
    return Group(prefix, [], looks=liner_looks(lines)), lines


def _prefix(vocabulary: Vocabulary, ads: Sequence[catalogue.LabAd]) -> tuple[Group, dict[str, Line]]:
    """The prompt up to the end of the candidate list, still without branches, and each ad's line by its id."""
    prefix = list(vocabulary.opening)
    lines, topics = {}, []
    for ad in ads:
        tokens = vocabulary.ids(tokenizer.listed(ad.candidate))
        bid = max(n for n, token in enumerate(tokens) if token in vocabulary.bids)
        marker, beginning = (*tokens[:bid], vocabulary.close), len(tokens) - bid - 2
        if tuple(tokens[bid + 1 : -1]) != marker[1 : beginning + 1]:
            beginning = 1  # what stands around it changed its tokens
        line = Line(len(prefix), len(prefix) + bid + 1, marker, beginning)
        lines[ad.candidate.ad_id] = line
        topics += [(line.pick + n, topic_number(ad.category)) for n in range(beginning)]
        prefix += tokens
    return Group(prefix, [], looks=liner_looks(list(lines.values())), topics=tuple(topics)), lines


def asked(
    vocabulary: Vocabulary, *, text: str, about: str, profile: str, interests: Sequence[str] = ()
) -> tuple[list[int], dict[str, range]]:
    """The prompt behind the candidate list, up to the first token of the answer, and which of its tokens tell a topic:
    by its slug, an interest where the profile names it; by QUESTION, the words `about` (the whole question where they
    are not in it).
    """
    before = prompts.REQUIREMENTS + (profile or prompts.NO_PROFILE) + prompts.QUESTION
    whole = f"{before}{text}{prompts.ANSWER}{tokenizer.END}\n{tokenizer.ASSISTANT}"
    at = text.lower().find(about.lower())
    first, last = (at, at + len(about)) if about and at >= 0 else (0, len(text))
    spans = {QUESTION: (len(before) + first, len(before) + last)}
    for slug in interests:
        if found := re.search(rf"\b{re.escape(questions.interest_name(slug))}\b", before[len(prompts.REQUIREMENTS) :]):
            spans[slug] = tuple(len(prompts.REQUIREMENTS) + place for place in found.span())
    coded = vocabulary.tok(whole, add_special_tokens=False, return_offsets_mapping=True)
    places = {}
    for name, (first, last) in spans.items():
        within = [n for n, (begin, end) in enumerate(coded["offset_mapping"]) if begin < last and end > first]
        places[name] = range(within[0], within[-1] + 1)
    return coded["input_ids"], places


def _branch(
    vocabulary: Vocabulary,
    *,
    text: str,
    about: str,
    category: str | None,
    visitor: questions.Visitor,
    reply: str,
    placed: Sequence[answers.Placed],
    prefix: Sequence[int],
    lines: dict[str, Line],
) -> Branch:
    """A question and its answer. Heads look at the topic now and then; at a marker's beginning, at what the ad was
    taken for (the question, or an interest), and at the list. A slip is an ad placed that equals none.
    """
    context, telling = asked(vocabulary, text=text, about=about, profile=visitor.profile, interests=visitor.interests)
    coded = vocabulary.tok(reply + tokenizer.END, add_special_tokens=False, return_offsets_mapping=True)
    target, start = coded["input_ids"], len(context)
    begins = {begin: n for n, (begin, _) in enumerate(coded["offset_mapping"])}
    words = {name: tuple(len(prefix) + place for place in places) for name, places in telling.items()}
    looks = [Look(start + n, Role.reader, words[QUESTION]) for n in range(0, len(target), READ_EVERY)]
    known = [(start - 1, category)] if category or not placed else []
    if not placed:  # what is read must stay the same all along
        known += [(start + n, category) for n in range(0, len(target) - 1, READ_EVERY)]
    labels = list(target)
    follows = followers(list(lines.values())) if any(not place.equals for place in placed) else {}
    searched = 0
    for place in placed:
        marker = lines[place.ad.candidate.ad_id].marker
        found = reply.find(place.ad.marker, searched)
        if found < 0:  # a broken marker
            continue
        searched = found + len(place.ad.marker)
        at = begins[found + 1]  # the first token of the title
        if tuple(target[at : at + len(marker) - 2]) != marker[1:-1]:
            continue  # what stands around it changed its tokens
        if not place.equals:  # a slip
            line = lines[place.ad.candidate.ad_id]
            looks += copied_out(line, start + at - 1, follows)
            labels[at : at + len(marker) - 2] = unless_free(line, follows)[1:-1]
            continue
        equals = tuple(lines[ad.candidate.ad_id].pick for ad in place.equals)
        looks += [Look(start + at, role, equals) for role in (Role.selector, Role.copier)]
        of = place.equals[0].category
        line = lines[place.ad.candidate.ad_id]
        if taken_for := words.get(QUESTION if category in (None, of) else of, ()):
            looks.append(Look(start + at, Role.reader, taken_for))
            if category and of:
                known += [(start + at - 1 + n, of) for n in range(line.beginning)]
        looks += spelled(line, start + at - 1, told=taken_for)
    return Branch(
        context + target,
        [IGNORED] * start + labels,
        looks=tuple(looks),
        topics=tuple((at, topic_number(slug)) for at, slug in known),
    )


def _question(rng: random.Random, slug: str) -> questions.Question:
    """About the category, or now and then about none."""
    if rng.random() < ELSEWHERE:
        return questions.elsewhere_question(rng)
    return questions.training_question(rng, category=slug)


def answer_questions(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and the base model's careless answers; some ask for something else.

    One more branch answers with nothing but markers: an answer holds too few of them to learn copying from. With no
    candidates at all, answers have no ads.
    """
    slugs = rng.sample(SLUGS, branches)
    ads = catalogue.make_candidates(rng, count=count, wanted=slugs[: count // 2], parts=vocabulary.parts)
    sold = [ad.category for ad in ads if ad.category]
    group, lines = _prefix(vocabulary, ads)
    for slug in slugs:
        question = _question(rng, slug)
        visitor = questions.visitor(rng, first=rng.choice(sold) if sold and rng.random() < FIRST_SOLD else None)
        reply = _slipped(rng, answers.write(rng, question=question, ads=ads, interests=visitor.interests), ads)
        group.branches.append(
            _branch(
                vocabulary,
                text=question.text,
                about=question.about,
                category=question.category,
                visitor=visitor,
                reply=reply.text,
                placed=reply.placed,
                prefix=group.prefix,
                lines=lines,
            )
        )
    if ads:  # without `decides`, which would outweigh the answers
        group.branches.append(replace(_named(rng, vocabulary, lines), decides=()))
    return group


def _slipped(rng: random.Random, answer: answers.Answer, ads: Sequence[catalogue.LabAd]) -> answers.Answer:
    """The answer, some of its markers slips. What a model samples is not always what it meant; where each marker fits
    what it stands for, one learns to go on with what was meant, and mixes the two.
    """
    text, placed, begin = answer.text, [], 0
    for place in answer.placed:
        found = text.find(place.ad.marker, begin)
        if found >= 0:  # not a broken marker
            end = found + len(place.ad.marker)
            if rng.random() < SLIPS:
                place = answers.Placed(rng.choice(ads), ())
                text = text[:found] + place.ad.marker + text[end:]
            begin = found + len(place.ad.marker)
        placed.append(place)
    return answers.Answer(text, tuple(placed))


def begin_answers(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Questions and their answers up to the first tip's end, which decides the topic: more topics in as many tokens.
    Whether an ad follows there is left open.
    """
    group, lines = _prefix(vocabulary, catalogue.make_candidates(rng, count=count, parts=vocabulary.parts))
    for slug in rng.choices(SLUGS, k=branches):
        question = _question(rng, slug)
        reply = answers.write(rng, question=question, ads=[])
        branch = _branch(
            vocabulary,
            text=question.text,
            about=question.about,
            category=question.category,
            visitor=questions.visitor(rng),
            reply=reply.text,
            placed=(),
            prefix=group.prefix,
            lines=lines,
        )
        group.branches.append(_until(branch, len(vocabulary.ids(reply.text[: reply.first_tip]))))
    return group


def _until(branch: Branch, count: int) -> Branch:
    """The branch up to that token of its answer, or all of it for 0."""
    if not count:
        return branch
    end = next(at for at, label in enumerate(branch.labels) if label != IGNORED) + count
    looks = tuple(look for look in branch.looks if look.at < end)
    topics = tuple((at, topic) for at, topic in branch.topics if at < end)
    return replace(branch, tokens=branch.tokens[:end], labels=branch.labels[:end], looks=looks, topics=topics)


def read_list(rng: random.Random, vocabulary: Vocabulary, count: int, branches: int) -> Group:
    """Which ad has the highest bid, fits a topic, is the best of both, has an id? Answered by its marker."""
    few = rng.sample(SLUGS, rng.choice((max(2, count // 8), max(2, count // 3), len(SLUGS))))
    own = rng.random() < OWN_BRANDS
    ads = catalogue.make_candidates(rng, count=count, slugs=few, own_brands=own, parts=vocabulary.parts)
    while len(reading.highest(ads)) > 1:
        ads = catalogue.make_candidates(rng, count=count, slugs=few, own_brands=own, parts=vocabulary.parts)
    group, lines = _prefix(vocabulary, ads)
    while len(group.branches) < branches:
        kind = rng.choices(reading.KINDS, READING_SHARES)[0]
        question = reading.reading_question(rng, ads=ads, kind=kind)
        if question is None:
            continue
        slip = rng.random() < SLIPS
        ad = rng.choice(ads if slip else question.right)
        branch = _branch(
            vocabulary,
            text=question.text,
            about=question.about,
            category=question.category,
            visitor=questions.visitor(rng),
            reply=ad.marker,
            placed=[answers.Placed(ad, () if slip else question.right)],
            prefix=group.prefix,
            lines=lines,
        )
        first = next(at for at, label in enumerate(branch.labels) if label != IGNORED) + 1
        group.branches.append(replace(branch, decides=(first,) if len(question.right) == 1 and not slip else ()))
    return group


TASKS: dict[str, Task] = {
    "copy": copy_random,
    "titles": copy_ads,
    "lookup": look_up,
    "highest": look_for_highest,
    "topic": begin_answers,
    "read": read_list,
    "answer": answer_questions,
}
