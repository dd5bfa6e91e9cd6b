import hashlib
import random
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from training.lab import curriculum, network, questions, recipe, tokenizer  # noqa: E402
from training.lab.muon import orthogonalised  # noqa: E402

TINY = recipe.PRESETS["tiny"]


@pytest.fixture(scope="module")
def vocabulary():
    return curriculum.Vocabulary(tokenizer.train_tokenizer(tokenizer.sample_texts(1, count=20), vocabulary=700))


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


def test_branches_behind_one_prefix_have_the_losses_of_whole_rows(vocabulary, model):
    rng = random.Random(3)
    groups = [curriculum.answer_questions(rng, vocabulary, count, 3) for count in (4, 6)]
    rows = [curriculum.Group(group.prefix, [branch]) for group in groups for branch in group.branches]
    shared, _, places = network.token_losses(model, groups)
    plain, _, plain_places = network.token_losses(model, rows)
    assert torch.equal(places, plain_places)
    torch.testing.assert_close(shared, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("task", curriculum.TASKS)
def test_every_task_labels_only_tokens_of_its_branches(vocabulary, task):
    for count in (2, 8):
        group = curriculum.TASKS[task](random.Random(count), vocabulary, count, 4)
        for branch in group.branches:
            learned = [(t, n) for t, n in zip(branch.tokens, branch.labels, strict=True) if n != curriculum.IGNORED]
            assert learned
            assert all(token == label for token, label in learned)


def test_a_copied_title_is_learned_only_where_the_list_decides_it(vocabulary):
    group = curriculum.copy_random(random.Random(1), vocabulary, 8, 1)
    tokens, labels = group.branches[0].tokens, group.branches[0].labels
    starts = [n + 1 for n, token in enumerate(tokens) if token == vocabulary.spaced_sign]
    assert all(labels[n] == curriculum.IGNORED for n in starts)  # which record comes next is free


def test_a_copier_looks_at_the_same_token_in_the_list(vocabulary):
    copied = curriculum.copy_random(random.Random(1), vocabulary, 8, 1)
    answered = curriculum.answer_questions(random.Random(1), vocabulary, 8, 6)
    for group in (copied, answered):
        looks = [(branch, look) for branch in group.branches for look in branch.looks if look.head == curriculum.COPIER]
        assert len(looks) > 20
        for branch, look in looks:
            assert group.prefix[look.first : look.last] == [branch.tokens[look.at]]


def test_a_reader_looks_at_the_words_that_give_the_topic_away(vocabulary):
    rng = random.Random(4)
    question = questions.Question("Hello! What do you know about green tea?", "tea", None, about="green tea")
    for shown in (question, replace(question, text=question.text.lower())):
        tokens, (first, last) = curriculum.asked(vocabulary, question=shown, profile=questions.profile(rng))
        assert vocabulary.tok.decode(tokens[first:last]).strip() == "green tea"
    tokens, (first, last) = curriculum.asked(vocabulary, question=replace(question, about=""), profile="")
    assert vocabulary.tok.decode(tokens[first:last]).strip() == question.text
    group = curriculum.begin_answers(rng, vocabulary, 2, 4)
    for branch in group.branches:
        for look in branch.looks:
            assert len(group.prefix) <= look.first < look.last <= len(group.prefix) + look.at


@pytest.mark.parametrize("branches", [1, 4])
def test_showing_heads_where_to_look_leaves_the_token_losses_as_they_are(vocabulary, model, branches):
    task = curriculum.copy_random if branches == 1 else curriculum.begin_answers
    groups = [task(random.Random(n), vocabulary, 3 + n, branches) for n in range(3)]
    plain, _, places = network.token_losses(model, groups)
    model.set_attn_implementation("eager")
    guided, _, guided_places, attention = network.guided_losses(model, groups)
    assert torch.equal(places, guided_places)
    torch.testing.assert_close(plain, guided, atol=1e-4, rtol=1e-4)
    attention.backward()  # it can be learned from, and only through the attention's own weights
    assert model.model.layers[0].self_attn.v_proj.weight.grad.norm() > 0
    assert model.model.layers[1].self_attn.k_proj.weight.grad.norm() > 0
    assert model.model.layers[1].mlp.up_proj.weight.grad is None


def test_muon_makes_directions_equally_long():
    matrix = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert 0.6 < values.min() <= values.max() < 1.3


def test_oversized_weights_are_not_exported(tmp_path, model, vocabulary, monkeypatch):
    monkeypatch.setattr(recipe, "MAX_WEIGHTS", 1000)
    with pytest.raises(ValueError, match="more than 1000"):
        recipe.export(model=model, tok=vocabulary.tok, out=tmp_path / "model", manifest={})
    assert not (tmp_path / "model").exists()
