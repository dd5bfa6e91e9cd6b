import random
from collections import Counter

import pytest

from campaigns.auction.categories import CATEGORIES
from chat.adllm import markup
from training.lab import answers, catalogue, questions
from training.lab.elsewhere import ELSEWHERE_FILE, load_elsewhere, parse_elsewhere
from training.lab.topics import TopicsError, load_topics, parse_topics
from training.simulation import elsewhere

SLUGS = list(CATEGORIES)


def make_answers(count):
    """Questions over 100 candidates and the base model's answers."""
    rng = random.Random(5)
    for number in range(count):
        ads = catalogue.make_candidates(rng, count=100)
        question = questions.training_question(rng, category=SLUGS[number % len(SLUGS)])
        interests = questions.visitor(rng).interests
        yield question, ads, answers.answer(rng, question=question, ads=ads, interests=interests)


def test_topics_cover_every_category_with_three_threads():
    topics = load_topics()
    assert list(topics) == SLUGS
    for entry in topics.values():
        assert len(entry.products) >= 10
        assert len(entry.related) >= 5
        assert sum(len(thread.tips) for thread in entry.threads) >= 12


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("## coffee: coffee\nkeywords: a\nproducts: b\n", "coffee: needs"),  # no thread
        ("## coffee: coffee\nnonsense\n", "cannot read the line 'nonsense'"),  # neither field nor thread
        ("", "the categories differ"),  # nothing at all
    ],
)
def test_unreadable_topics_are_refused_by_name(text, complaint):
    with pytest.raises(TopicsError, match=complaint):
        parse_topics(text)


def test_no_tip_stands_in_two_categories():
    counts = Counter(tip for entry in load_topics().values() for thread in entry.threads for tip in set(thread.tips))
    assert [tip for tip, count in counts.items() if count > 1] == []


def test_held_out_questions_and_brands_are_never_trained_on():
    rng = random.Random(3)
    held_out = {question.text for question in questions.held_out_questions(rng, count=400)}
    trained = {questions.training_question(rng, category=rng.choice(SLUGS)).text for _ in range(4000)}
    assert not held_out & trained
    assert not set(catalogue.HELD_OUT_FIRST) & set(catalogue.FIRST_PARTS)
    assert not set(catalogue.HELD_OUT_SECOND) & set(catalogue.SECOND_PARTS)


def test_what_the_topics_file_has_people_ask_names_nothing_held_out():
    for slug in SLUGS:
        entry = load_topics()[slug]
        spares = {questions.held_out_topic(entry)[1].casefold(), questions.held_out_question(entry)[1].casefold()}
        for text in (*entry.questions, *entry.wants, *entry.asked):
            assert not [spare for spare in spares if spare in text.casefold()], text
            assert 0 < len(text) < 120


def test_questions_are_asked_in_all_ways_that_training_knows():
    rng = random.Random(11)
    entry = load_topics()["coffee"]
    texts = [questions.training_question(rng, category="coffee").text.casefold() for _ in range(6000)]
    for known in (
        entry.questions,
        entry.wants,
        [product.lower() for product in entry.products],
        [t for thread in entry.threads for t in thread.topics if t != questions.held_out_topic(entry)[1]],
    ):
        told = [any(words.casefold() in text for text in texts) for words in known]
        assert sum(told) >= 0.8 * len(told)


def test_base_answers_keep_to_the_topic_and_insert_carelessly():
    shown, fitting, errors, answered = [], 0, 0, 0
    for question, ads, text in make_answers(600):
        parsed = markup.parse(text, [ad.candidate for ad in ads], max_ads=100)
        categories = {ad.candidate.ad_id: ad.category for ad in ads}
        shown.append(parsed.n_ads)
        fitting += sum(categories[ad_id] == question.category for ad_id in parsed.ads)
        errors += sum(parsed.errors.values())
        answered += answers.is_on_topic(text, category=question.category)
    assert answered == 600
    assert 1.2 < sum(shown) / 600 < 2.0
    assert 0.3 < fitting / sum(shown) < 0.5
    assert 0.01 < errors / sum(shown) < 0.05
    silent = sum(not plan for _, plan in answers.OPENINGS) / len(answers.OPENINGS)
    assert 0.08 < silent < 0.2
    without = sum("@" not in text for _, _, text in make_answers(3000))  # rarer than the rest, so counted in more
    assert without / 3000 == pytest.approx(silent, abs=0.015)  # three standard errors
    assert max(shown) >= 4


def test_each_manner_has_several_openings_and_none_begins_as_another_does():
    assert all(len(openings) >= 2 for _, openings in answers.MANNERS)
    firsts = [opening.split()[0].strip("!,") for opening, _ in answers.OPENINGS]
    assert len(set(firsts)) == len(firsts)
    assert {plan for plan, _ in answers.MANNERS} == {plan for _, plan in answers.OPENINGS}


def test_an_answer_without_candidates_names_no_ad():
    rng = random.Random(1)
    question = questions.training_question(rng, category="tea")
    assert all("@" not in answers.answer(rng, question=question, ads=[]) for _ in range(50))


def test_questions_about_nothing_known_get_an_honest_answer():
    rng = random.Random(2)
    for _ in range(50):
        question = questions.elsewhere_question(rng)
        assert answers.is_on_topic(answers.answer(rng, question=question, ads=[]), category=None)


def test_honest_answers_are_few_enough_to_be_learned_word_for_word():
    rng = random.Random(2)
    asked = [questions.elsewhere_question(rng) for _ in range(600)]
    told = {answers.answer(rng, question=question, ads=[]) for question in asked}
    assert told == {*answers.ELSEWHERE, *answers.GREETING}


def test_questions_about_nothing_known_are_worded_as_others_are():
    rng = random.Random(4)
    asked = [questions.elsewhere_question(rng) for _ in range(4000)]
    greetings = sum(question.greeting for question in asked) / len(asked)
    assert 0.06 < greetings < 0.1
    texts = " ".join(question.text.casefold() for question in asked)
    entries = load_elsewhere()
    for known in (entries["subjects"], entries["figures"], entries["places"], entries["whole questions"]):
        assert sum(words.casefold() in texts for words in known) > 0.9 * len(known)
    alike = sum(question.text.startswith(("I need advice on", "Can you give me some tips on")) for question in asked)
    assert alike > 10


def test_what_the_simulation_holds_out_is_not_practised():
    text = ELSEWHERE_FILE.read_text(encoding="utf-8").casefold()
    held_out = (*elsewhere._HELD_OUT_SUBJECTS, *elsewhere._HELD_OUT_FORMS, *elsewhere._HELD_OUT_GREETINGS)
    beginnings = [form.split("{")[0] for form in elsewhere._HELD_OUT_FORMS if len(form.split("{")[0]) > 12]
    assert [words for words in (*held_out, *beginnings) if words.casefold() in text] == []


@pytest.mark.parametrize("text", ["", "# x\n\n## subjects\na; b\n", ELSEWHERE_FILE.read_text() + "\n## more\nx\n"])
def test_an_unreadable_list_of_other_subjects_is_refused(text):
    with pytest.raises(ValueError, match="needs the sections"):
        parse_elsewhere(text)


def test_a_careless_ad_is_one_the_visitor_likes_and_a_fitting_one_meets_the_question():
    rng = random.Random(6)
    ads = catalogue.make_candidates(rng, count=30, wanted=("tea", "yoga", "yoga"), slugs=("dogs",))
    choices = {
        style: {ad.category for ad in answers.suiting(ads=ads, category="tea", interests=("yoga",), style=style)}
        for style in (answers.FITTING, answers.ANY, answers.PUSHY)
    }
    assert choices == {answers.FITTING: {"tea"}, answers.ANY: {"yoga"}, answers.PUSHY: {"yoga"}}
    assert answers.suiting(ads=ads, category="cats", interests=(), style=answers.PUSHY) == ads[:1]


def test_base_answers_are_blind_to_bids():
    """Among the fitting ads, the dearest is shown as often as chance has it."""
    shown, expected = 0, 0.0
    rng = random.Random(7)
    for number in range(1500):
        slug = SLUGS[number % len(SLUGS)]
        ads = catalogue.make_candidates(rng, count=20, wanted=(slug,) * 3)
        question = questions.training_question(rng, category=slug)
        for placed in answers.write(rng, question=question, ads=ads).placed:
            shown += placed.ad.candidate.bid_micros == max(ad.candidate.bid_micros for ad in placed.equals)
            expected += 1 / len(placed.equals)
    assert abs(shown - expected) < 4 * expected**0.5


def test_candidates_have_different_ids_and_titles():
    rng = random.Random(4)
    ads = catalogue.make_candidates(rng, count=100, wanted=("tea", "tea"))
    assert len({ad.candidate.ad_id for ad in ads}) == len({ad.candidate.title for ad in ads}) == 100
    assert sum(ad.category == "tea" for ad in ads) >= 2


def test_brands_of_a_few_parts_share_them_and_half_of_the_lists_have_parts_that_nobody_knows():
    rng = random.Random(9)
    strange = 0
    for _ in range(200):
        ads = catalogue.make_candidates(rng, count=100, own_brands=True, few=1.0)
        brands = [ad.candidate.title.split()[0] for ad in ads]
        beginnings = Counter(brand[:3] for brand in brands)
        assert beginnings.most_common(1)[0][1] >= 4
        strange += not any(brand.startswith(catalogue.FIRST_PARTS) for brand in brands[:3])
    assert 70 < strange < 130
