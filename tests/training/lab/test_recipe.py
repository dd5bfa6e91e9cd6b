import hashlib
import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from chat.adllm import prompts  # noqa: E402
from training.lab import (  # noqa: E402
    answers,
    catalogue,
    curriculum,
    export,
    network,
    presets,
    reading,
    recipe,
    tokenizer,
    wiring,
    words,
)
from training.lab.groups import IGNORED, SLUGS, Group, Look, Role, Vocabulary  # noqa: E402
from training.lab.muon import orthogonalised  # noqa: E402
from training.lab.topics import load_topics  # noqa: E402

TINY = presets.PRESETS["tiny"]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(tokenizer.train_tokenizer(tokenizer.sample_texts(1, count=20), vocabulary=700))


@pytest.fixture
def model(vocabulary):
    return network.new_model(vocabulary=len(vocabulary.tok), layers=(64, 128, 2), eos=2, pad=0, seed=1)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        recipe.build(preset=TINY, seed=seed, out=tmp_path / name, work=tmp_path / f"{name}-work")
    assert digest(tmp_path / "one") == digest(tmp_path / "two") != digest(tmp_path / "three")
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (tmp_path / "two" / "tokenizer.json").read_bytes()


def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path):
    recipe.build(preset=TINY, seed=1, out=tmp_path / "whole", work=tmp_path / "a")
    for stop in (3, 6):  # within the first phase, within the second
        recipe.train(preset=TINY, seed=1, work=tmp_path / "b", resume=True, stop_after=stop)
    recipe.build(preset=TINY, seed=1, out=tmp_path / "resumed", work=tmp_path / "b", resume=True)
    assert digest(tmp_path / "whole") == digest(tmp_path / "resumed")


def test_a_finished_model_is_trained_on_and_a_stopped_run_of_it_ends_the_same(tiny_model, tmp_path):
    more = replace(TINY, name="again", phases=(replace(TINY.phases[1], steps=3),))
    recipe.build(preset=more, seed=2, out=tmp_path / "whole", work=tmp_path / "a", start=tiny_model)
    recipe.train(preset=more, seed=2, work=tmp_path / "b", resume=False, start=tiny_model, stop_after=2)
    recipe.build(preset=more, seed=2, out=tmp_path / "resumed", work=tmp_path / "b", start=tiny_model, resume=True)
    assert digest(tmp_path / "whole") == digest(tmp_path / "resumed") != digest(tiny_model)
    assert (tmp_path / "whole" / "tokenizer.json").read_bytes() == (tiny_model / "tokenizer.json").read_bytes()


def test_renewed_words_tell_more_and_stay_near_the_table_the_network_knows(vocabulary):
    torch.manual_seed(0)
    classifier = network.new_classifier(256)
    table = words.prime_words(classifier, vocabulary, steps=40, seed=1)
    again = network.new_classifier(256)
    new = words.renew_words(table, again, vocabulary, steps=300, seed=2)
    texts = words.topic_texts(random.Random(5), vocabulary, 400)
    assert words._bag_loss(new, again, texts) < words._bag_loss(table, classifier, texts)
    assert new.norm(dim=1).max() <= 1.0001
    assert torch.cosine_similarity(new, table).mean() > 0.8


def test_words_that_are_not_renewed_stay_and_are_read(vocabulary):
    torch.manual_seed(0)
    table = words.prime_words(network.new_classifier(256), vocabulary, steps=40, seed=1)
    fresh, again = network.new_classifier(256), network.new_classifier(256)
    assert torch.allclose(words.renew_words(table, again, vocabulary, steps=0, seed=2), table)
    texts = words.topic_texts(random.Random(5), vocabulary, 400)
    assert words._bag_loss(table, again, texts) < 0.8 * words._bag_loss(table, fresh, texts)


def test_a_step_s_groups_have_as_many_candidates(vocabulary):
    phase = presets.Phase("mixed", 9, (presets.Share("titles", 1.0, (2, 5, 9)),), tokens=1200)
    found = set()
    for step in range(9):
        _, groups = recipe.make_batch(phase=phase, progress=recipe.Progress(step=step), vocabulary=vocabulary, seed=1)
        counts = {sum(token in vocabulary.bids for token in group.prefix) for group in groups}
        assert len(counts) == 1
        assert len(groups) > 1
        found |= counts
    assert found == {2, 5, 9}


@pytest.mark.parametrize("masked", [False, True])
def test_products_pay_the_attention_that_the_kernel_pays(masked):
    torch.manual_seed(1)
    query, (key, value) = torch.randn(2, 4, 5, 64), torch.randn(2, 2, 2, 9 if masked else 5, 64)
    mask = torch.rand(2, 1, 5, 9) < 0.7 if masked else None
    mask = mask | (torch.arange(9) < 1) if masked else None
    found = network._products(query, key, value, mask).float()
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=not masked, enable_gqa=True
    )
    assert torch.allclose(found.transpose(1, 2), wanted, atol=0.03)


def test_branches_behind_one_prefix_have_the_losses_of_whole_rows(vocabulary, model):
    rng = random.Random(3)
    groups = [curriculum.answer_questions(rng, vocabulary, count, 3) for count in (4, 6)]
    rows = [Group(group.prefix, [branch]) for group in groups for branch in group.branches]
    shared, _, places = network.token_losses(model, groups)
    plain, _, plain_places = network.token_losses(model, rows)
    assert torch.equal(places, plain_places)
    torch.testing.assert_close(shared, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("task", curriculum.TASKS)
def test_every_task_labels_only_tokens_of_its_branches(vocabulary, task):
    for count in (2, 8):
        group = curriculum.TASKS[task](random.Random(count), vocabulary, count, 4)
        for branch in group.branches:
            learned = [(t, n) for t, n in zip(branch.tokens, branch.labels, strict=True) if n != IGNORED]
            assert learned
            assert all(token == label for token, label in learned)


def test_a_copied_title_is_learned_only_where_the_list_decides_it(vocabulary):
    group = curriculum.copy_random(random.Random(1), vocabulary, 8, 1)
    tokens, labels = group.branches[0].tokens, group.branches[0].labels
    starts = [n + 1 for n, token in enumerate(tokens) if token == vocabulary.spaced_sign]
    assert all(labels[n] == IGNORED for n in starts)  # which record comes next is free


def test_titles_are_copied_in_a_whole_prompt_as_the_only_answer(vocabulary):
    group = curriculum.copy_ads(random.Random(1), vocabulary, 8, 1)
    (branch,) = group.branches
    begin = branch.tokens.index(vocabulary.sign)
    question = vocabulary.tok.decode(branch.tokens[:begin])
    assert f"{prompts.QUESTION}{curriculum.LIST_THEM}{prompts.ANSWER}" in question
    assert question.endswith(f"{tokenizer.END}\n{tokenizer.ASSISTANT}")
    assert set(branch.labels[: begin + 1]) == {IGNORED}
    markers = vocabulary.tok.decode(branch.tokens[begin:]).split("] ")
    shown = vocabulary.tok.decode(group.prefix)
    assert len(markers) == 8
    assert all(marker.removesuffix("]") in shown for marker in markers)
    assert all(branch.labels[at] == branch.tokens[at] for at in branch.decides)


def test_short_copies_practise_first_markers(vocabulary):
    group = curriculum.copy_ads(random.Random(3), vocabulary, 8, 12)
    counts = [sum(token in vocabulary.marker_ids for token in branch.tokens) for branch in group.branches]
    assert len(counts) == 12
    assert set(counts) == {1, 2, 3}


def test_copies_are_decided_at_ids_and_where_the_token_before_leaves_open_what_follows(vocabulary):
    group = curriculum.copy_ads(random.Random(2), vocabulary, 30, 1)
    (branch,) = group.branches
    nexts = {}
    for one, other in pairwise(group.prefix):
        nexts.setdefault(one, set()).add(other)
    ids = {n for n, token in enumerate(branch.tokens) if token in vocabulary.marker_ids}
    assert len(ids) == 30
    assert ids < set(branch.decides)
    for at in set(branch.decides) - ids:
        assert branch.labels[at] == branch.tokens[at]
        assert len(nexts[branch.tokens[at - 1]]) > 1


def looks_of(group, role):
    return [(branch, look) for branch in group.branches for look in branch.looks if look.role == role]


def test_a_copier_looks_at_the_same_token_in_the_list(vocabulary):
    copied = curriculum.copy_random(random.Random(1), vocabulary, 8, 1)
    answered = curriculum.answer_questions(random.Random(1), vocabulary, 8, 6)
    for group in (copied, answered):
        looks = looks_of(group, Role.copier)
        assert len(looks) > 20
        for branch, look in looks:  # at a marker's beginning, several ads may do
            assert branch.tokens[look.at] in [group.prefix[place] for place in look.places]


def test_a_selector_looks_at_the_beginnings_behind_the_bids_of_ads_that_may_stand_there(vocabulary):
    signs = (vocabulary.sign, vocabulary.spaced_sign)
    for task in (
        curriculum.answer_questions,
        curriculum.read_list,
        curriculum.look_up,
        curriculum.look_for_highest,
    ):
        first, later = [], []
        for seed in range(4):
            group = task(random.Random(seed), vocabulary, 12, 6)
            for branch, look in looks_of(group, Role.selector):
                before, token = branch.tokens[look.at - 1], branch.tokens[look.at]
                (first if before in signs else later).append(look)
                for place in look.places:
                    if before in signs:
                        assert group.prefix[place - 1] in vocabulary.bids
                    else:  # within the beginning: the same ad, spelled on
                        assert (group.prefix[place - 1], group.prefix[place]) == (before, token)
        assert len(first) >= 4
        assert len(later) >= 4


def test_within_a_beginning_what_tells_the_topic_is_looked_at_again(vocabulary, monkeypatch):
    monkeypatch.setattr(curriculum, "SLIPS", 0.0)
    group = curriculum.look_up(random.Random(2), vocabulary, 12, 6)
    topics = [look for branch, look in looks_of(group, Role.reader)]
    spelled = [look for branch, look in looks_of(group, Role.selector)]
    assert topics
    assert {look.at for look in topics} == {look.at for look in spelled}
    known = {at + 1 for branch in group.branches for at, _ in branch.topics}
    assert known == {look.at for look in topics}


@pytest.mark.parametrize("task", [curriculum.look_up, curriculum.read_list, curriculum.answer_questions])
def test_after_a_slip_only_what_is_written_tells_how_a_marker_goes_on(vocabulary, task, monkeypatch):
    monkeypatch.setattr(curriculum, "SLIPS", 1.0)
    monkeypatch.setattr(answers, "LAST_OF_FOUR_BROKEN", 0.0)
    signs, slips, off_topic = (vocabulary.sign, vocabulary.spaced_sign), 0, 0
    for seed in range(3):
        group = task(random.Random(seed), vocabulary, 12, 6)
        for branch in group.branches:
            first = next((at for at, label in enumerate(branch.labels) if label != IGNORED), 0)
            for at, token in enumerate(branch.tokens[:-2]):
                if token not in signs or at < first - 2:
                    continue
                end = branch.tokens.index(vocabulary.close, at) if vocabulary.close in branch.tokens[at:] else at
                if end <= at + 3:
                    continue
                slips += 1
                assert branch.labels[at + 1] == IGNORED  # it was not meant, so it is not learned
                assert branch.labels[end - 2 : end + 1] != [IGNORED] * 3  # which ad it is shows there at the latest
                within = [look for look in branch.looks if at + 1 < look.at <= end and look.role == Role.copier]
                for look in within:
                    assert branch.tokens[look.at] in [group.prefix[place] for place in look.places]
                off_topic += not any(look.at == at + 1 and look.role == Role.selector for look in branch.looks)
    assert slips >= 10
    assert off_topic == slips


def test_brands_are_made_of_any_tokens_but_of_no_held_out_part(vocabulary):
    held_out = {part.lower() for part in (*catalogue.HELD_OUT_FIRST, *catalogue.HELD_OUT_SECOND)}
    assert len(vocabulary.parts) > 100
    assert not held_out & {part.lower() for part in vocabulary.parts}
    brands = [catalogue.brand(random.Random(seed), parts=["qx"]) for seed in range(300)]
    assert 0.25 < sum(brand.startswith("Qx") for brand in brands) / len(brands) < 0.5


def test_a_title_s_first_two_words_stand_behind_its_bid_again_and_look_at_the_title(vocabulary):
    ads = catalogue.make_candidates(random.Random(3), count=9)
    group, lines = curriculum._prefix(vocabulary, ads)
    looks = list(group.looks)
    for ad in ads:
        line = lines[ad.candidate.ad_id]
        assert group.prefix[line.pick - 1] in vocabulary.bids
        word = group.prefix[line.pick : line.pick + line.beginning]
        assert vocabulary.tok.decode(word) == " ".join(ad.candidate.title.split(" ")[:2])
        assert tuple(word) == line.marker[1 : line.beginning + 1]
        assert group.prefix[line.pick + line.beginning] == vocabulary.line_end
        for n in range(line.beginning):
            look = looks.pop(0)
            assert (look.role, look.at) == (Role.liner, line.pick + 1 + n)
            title = "".join(vocabulary.tok.decode([group.prefix[place]]) for place in look.places)
            assert title == ad.candidate.title
    assert not looks
    assert sum(line.beginning for line in lines.values()) > 3 * len(lines)


@pytest.mark.parametrize("task", [curriculum.look_up, curriculum.look_for_highest])
def test_looking_up_decides_the_first_token_of_a_marker(vocabulary, task):
    for seed in range(6):
        group = task(random.Random(seed), vocabulary, 12, 1)
        branch = group.branches[0]
        for at in branch.decides:
            assert branch.tokens[at - 1] in (vocabulary.sign, vocabulary.spaced_sign)
            (look,) = [look for look in branch.looks if (look.at, look.role) == (at, Role.selector)]
            assert [group.prefix[place] for place in look.places] == [branch.labels[at]] == [branch.tokens[at]]


def test_a_reader_looks_at_the_words_that_give_the_topic_away(vocabulary):
    rng = random.Random(4)
    text = "Hello! What do you know about green tea?"

    def telling(**prompt):
        tokens, places = curriculum.asked(vocabulary, **prompt)
        return {name: vocabulary.tok.decode([tokens[n] for n in found]).strip(" .,") for name, found in places.items()}

    for shown in (text, text.lower()):
        assert telling(text=shown, about="green tea", profile="Likes dogs.") == {curriculum.QUESTION: "green tea"}
    assert telling(text=text, about="", profile="") == {curriculum.QUESTION: text}
    assert telling(text="Hi", about="", profile="Likes home decor, tea.", interests=("tea", "home-decor", "dogs")) == {
        curriculum.QUESTION: "Hi",
        "home-decor": "home decor",
        "tea": "tea",
    }
    group = curriculum.begin_answers(rng, vocabulary, 2, 4)
    for branch, look in looks_of(group, Role.reader):
        assert look.places[0] >= len(group.prefix)
        assert look.places[-1] < len(group.prefix) + look.at
        assert look.at < len(branch.tokens)


def test_a_question_s_topic_stays_known_all_along_an_answer_without_ads(vocabulary):
    group = curriculum.begin_answers(random.Random(6), vocabulary, 2, 4)
    for branch in group.branches:
        places = [at for at, _ in branch.topics]
        begin = next(at for at, label in enumerate(branch.labels) if label != IGNORED)
        last = len(branch.tokens) - 1  # behind the end of a whole answer nothing comes
        assert places[0] == begin - 1
        assert [at for at in places[1:] if at < last] == list(range(begin, last, curriculum.READ_EVERY))
        assert len({topic for _, topic in branch.topics}) == 1


def test_begun_answers_end_with_the_first_tip_whatever_their_form(vocabulary, monkeypatch):
    monkeypatch.setattr(curriculum, "ELSEWHERE", 0.0)
    group = curriculum.begin_answers(random.Random(8), vocabulary, 2, 40)
    inline = 0
    for branch in group.branches:
        begin = next(at for at, label in enumerate(branch.labels) if label != IGNORED)
        text = vocabulary.tok.decode(branch.tokens[begin:])
        told = [tip for entry in load_topics().values() for t in entry.threads for tip in t.tips if tip in text]
        assert len(told) == 1
        assert text.endswith(told[0])  # what follows, an ad perhaps, is not taught
        inline += "\n" not in text
    assert 0 < inline < 40


@pytest.mark.parametrize("task", [curriculum.answer_questions, curriculum.begin_answers])
def test_without_candidates_an_answer_is_practised_without_ads(vocabulary, model, task):
    group = task(random.Random(6), vocabulary, 0, 4)
    assert group.prefix == vocabulary.opening
    assert len(group.branches) == 4  # none names all candidates
    told = [[label for label in branch.labels if label != IGNORED] for branch in group.branches]
    assert not any("@" in vocabulary.tok.decode(labels) for labels in told)
    losses, _, _, attention, _ = network.guided_losses(model, network.new_classifier(64), [group])
    assert losses.isfinite().all()
    assert attention.isfinite()


def test_questions_about_nothing_known_are_known_to_have_no_topic(vocabulary, monkeypatch):
    monkeypatch.setattr(curriculum, "ELSEWHERE", 1.0)
    for task in (curriculum.begin_answers, curriculum.answer_questions):
        group = task(random.Random(6), vocabulary, 4, 3)
        for branch in group.branches[:3]:  # the last one of answers copies markers
            assert {topic for _, topic in branch.topics} == {len(SLUGS)}
            begin = next(at for at, label in enumerate(branch.labels) if label != IGNORED)
            assert branch.topics[0][0] == begin - 1
    told = words.topic_texts(random.Random(5), vocabulary, 2000)
    assert 0.06 < sum(topic == len(SLUGS) for _, topic in told) / len(told) < 0.1


def test_the_best_ad_on_a_topic_is_the_answer_to_a_reading_question():
    rng = random.Random(5)
    for _ in range(200):
        ads = catalogue.make_candidates(rng, count=12, slugs=("tea", "dogs", "yoga"))
        question = reading.reading_question(rng, ads=ads, kind=reading.BEST)
        if question:
            rivals = [ad.candidate.bid_micros for ad in ads if ad.category == question.category]
            assert len(question.right) == 1
            assert len(rivals) > 1
            assert question.right[0].candidate.bid_micros == max(rivals)


def test_a_list_without_a_clear_answer_gives_no_question():
    ads = catalogue.make_candidates(random.Random(1), count=4, wanted=("tea", "dogs", "yoga", "cats"))
    assert reading.reading_question(random.Random(1), ads=ads, kind=reading.BEST) is None
    tied = [replace(ad, candidate=replace(ad.candidate, bid_micros=5)) for ad in ads]
    assert reading.reading_question(random.Random(1), ads=tied, kind=reading.HIGHEST) is None


@pytest.mark.parametrize("task", ["copy", "read", "answer"])
def test_guidance_leaves_the_token_losses_as_they_are(vocabulary, model, task):
    groups = [curriculum.TASKS[task](random.Random(n), vocabulary, 6 + n, 3) for n in range(2)]
    classifier = network.new_classifier(64)
    plain, _, places = network.token_losses(model, groups)
    guided, _, guided_places, attention, topics = network.guided_losses(model, classifier, groups)
    assert torch.equal(places, guided_places)
    torch.testing.assert_close(plain, guided, atol=1e-5, rtol=1e-5)
    (attention + topics).backward()
    assert model.model.layers[1].self_attn.k_proj.weight.grad.norm() > 0
    assert model.model.layers[1].mlp.up_proj.weight.grad is None  # only what lies below the guided heads learns from it


def test_attention_that_is_paid_in_full_costs_nothing():
    """Keys that single out the wanted places leave nothing unpaid; equal ones, the log of how many there are."""
    look = Look(3, Role.selector, (0, 1))
    layer, _ = wiring.heads_of(Role.selector, 2)
    query = torch.ones(2, 1, 4, 8)
    for key, unpaid in ((torch.zeros(2, 1, 6, 8), math.log(5 / 2)), (torch.zeros(2, 1, 6, 8), 0.0)):
        if unpaid == 0.0:
            key[:, :, :2] = 50.0
        read = network._Read(query, query, {layer: (query, key)}, begins=[2, 2], prefixes=[2, 2])
        assert network._unpaid(read, 2, Role.selector, [[], [look]], [0, 0]).item() == pytest.approx(unpaid, abs=1e-6)


def test_branches_and_whole_rows_are_guided_alike(vocabulary, model):
    group = curriculum.read_list(random.Random(2), vocabulary, 6, 3)
    rows = [Group(group.prefix, [branch], group.looks, group.topics) for branch in group.branches]
    classifier = network.new_classifier(64)
    shared = network._read(model, [group], guided=True)
    whole = network._read(model, rows, guided=True)
    torch.testing.assert_close(
        network._attention_loss(model, [group], *shared), network._attention_loss(model, rows, *whole)
    )
    torch.testing.assert_close(
        network._topic_loss(classifier, [group], *shared), network._topic_loss(classifier, rows, *whole)
    )


def test_stored_weights_have_16_bits_and_are_computed_with_in_32(tmp_path, model, vocabulary):
    from safetensors import safe_open

    export.export(model=model, tok=vocabulary.tok, out=tmp_path / "model", manifest={})
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    from transformers import Qwen3ForCausalLM

    loaded = Qwen3ForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded.lm_head.weight, model.lm_head.weight, atol=0.01, rtol=0.01)


def test_the_topic_of_what_a_liner_sees_reaches_the_selector_as_it_is(vocabulary, model):
    """One token that is looked at whole: its topic, and nothing else, is added where topics stand."""
    topics = torch.nn.functional.normalize(torch.randn(len(vocabulary.tok), 8), dim=1)
    wiring.draw(model, topics, vocabulary.bids)
    wiring.wire_topics(model)
    layer, _ = wiring.heads_of(Role.liner, 2)
    kept = {}
    block = model.model.layers[layer]
    block.input_layernorm.register_forward_hook(lambda module, args, output: kept.update(normed=output))
    block.register_forward_hook(lambda module, args, output: kept.update(after=output))
    token = vocabulary.words[5]
    model(input_ids=torch.tensor([[token]]))
    embedded = model.get_input_embeddings().weight[token]
    torch.testing.assert_close(kept["after"][0, 0, :8], embedded[:8] + kept["normed"][0, 0, :8])


def test_a_selector_prefers_the_token_of_its_own_topic(vocabulary, model):
    topics = torch.zeros(len(vocabulary.tok), 8)
    few = vocabulary.words[:6]
    topics[few] = torch.eye(8)[torch.tensor([0, 1, 2, 3, 4, 2])]
    wiring.draw(model, topics, vocabulary.bids)
    wiring.wire_topics(model)
    with network._recording(model, True):
        model(input_ids=torch.tensor([few]))
        layer, (head,) = wiring.heads_of(Role.selector, 2)
        queries, keys = model.model.layers[layer].self_attn.recorded
    scores = queries[0, head, -1] @ keys[0, 0, :-1].T
    assert scores.argmax() == 2


def test_bids_that_are_near_have_codes_that_are_near(vocabulary, model):
    wiring.draw(model, torch.zeros(len(vocabulary.tok), 8), vocabulary.bids)
    table = model.get_input_embeddings().weight[torch.tensor(vocabulary.bids)]
    near = torch.nn.functional.cosine_similarity(table[:-1], table[1:]).mean()
    far = torch.nn.functional.cosine_similarity(table[:50], table[50:]).mean()
    assert near > far + 0.2


def test_bids_are_smoothed_and_nothing_else_is(vocabulary, model):
    table = model.get_input_embeddings().weight
    bids = torch.tensor(vocabulary.bids)
    before = table.detach().clone()
    with torch.no_grad():
        table[bids] *= torch.linspace(1, 2, len(bids))[:, None]
    drawn = table[bids].detach().clone()
    wiring.smooth_bids(model, vocabulary.bids)
    smooth = table[bids].detach()
    torch.testing.assert_close(smooth.norm(dim=1), drawn.norm(dim=1))
    for at, first, last in ((0, 0, 5), (50, 46, 55), (99, 95, 100)):
        mean = drawn[first:last].mean(dim=0)
        assert torch.cosine_similarity(smooth[at], mean, dim=0) == pytest.approx(1)
    others = torch.ones(len(table), dtype=torch.bool)
    others[bids] = False
    assert torch.equal(table[others], before[others])


def test_a_finished_model_can_have_its_bids_smoothed_without_practice(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "READING", 2)  # of a classifier that practice alone needs
    none = replace(TINY, name="again", words=0, phases=(replace(TINY.phases[1], steps=0),))
    recipe.build(preset=none, seed=2, out=tmp_path / "model", work=tmp_path / "work", start=tiny_model)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, tmp_path / "model"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"model.embed_tokens.weight"}
    tok = AutoTokenizer.from_pretrained(tiny_model)
    rows = (before["model.embed_tokens.weight"] != after["model.embed_tokens.weight"]).any(dim=1).nonzero().flatten()
    assert set(rows.tolist()) == set(Vocabulary(tok).bids)


def test_of_the_embeddings_only_what_words_tell_of_topics_is_learned(tmp_path):
    first, last = (
        recipe.train(preset=TINY, seed=1, work=tmp_path / str(steps), resume=False, stop_after=steps)[0]
        for steps in (1, 8)
    )
    width = wiring.topic_width(first.config.hidden_size)
    one, two = (run.get_input_embeddings().weight for run in (first, last))
    assert torch.equal(one[:, width:], two[:, width:])
    assert not torch.equal(one[:, :width], two[:, :width])
    assert two[:, :width].norm(dim=1).max() <= wiring.LENGTH * 1.0001
    assert torch.equal(*(run.get_output_embeddings().weight for run in (first, last)))
    assert not torch.equal(*(run.model.layers[1].mlp.up_proj.weight for run in (first, last)))


def test_batches_made_by_several_processes_are_the_same(vocabulary):
    phase, progress = TINY.phases[1], recipe.Progress(step=3)
    with recipe._makers(vocabulary, 2) as pool:
        shared = recipe.make_batch(phase=phase, progress=progress, vocabulary=vocabulary, seed=1, pool=pool, at_once=2)
    assert shared == recipe.make_batch(phase=phase, progress=progress, vocabulary=vocabulary, seed=1)


def test_muon_makes_directions_equally_long():
    matrix = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert 0.6 < values.min() <= values.max() < 1.3


def test_oversized_weights_are_not_exported(tmp_path, model, vocabulary, monkeypatch):
    monkeypatch.setattr(export, "MAX_WEIGHTS", 1000)
    with pytest.raises(ValueError, match="more than 1000"):
        export.export(model=model, tok=vocabulary.tok, out=tmp_path / "model", manifest={})
    assert not (tmp_path / "model").exists()
