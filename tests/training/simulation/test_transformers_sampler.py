import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402
from threading import Event  # noqa: E402

from training.simulation.sampling import SampleRequest, SamplingError, SamplingSettings  # noqa: E402
from training.simulation.transformers_sampler import TransformersSampler, draw  # noqa: E402

SETTINGS = SamplingSettings(max_tokens=12, seed=3)
TEXTS = ("How do I brew tea?", "Hi", "A long question about dogs, cats and fish. " * 9, "Why?", "Tell me of tents.")
REQUESTS = [SampleRequest(f"q{n}", [{"role": "user", "content": text}]) for n, text in enumerate(TEXTS)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sampler(tiny_model):
    return TransformersSampler(tiny_model, device="cpu")


def test_branches_write_what_generate_writes(sampler):
    model, tok = sampler._model, sampler._tok
    answers = list(sampler.sample(REQUESTS, n=2, settings=replace(SETTINGS, temperature=0)))
    for request, (first, second) in zip(REQUESTS, answers, strict=True):
        prompt = tok.apply_chat_template(
            request.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        whole = model.generate(input_ids=prompt["input_ids"], max_new_tokens=12, do_sample=False)
        written = whole[0, prompt["input_ids"].shape[1] :]
        assert first == second
        assert (first.text, first.tokens) == (tok.decode(written, skip_special_tokens=True), len(written))


def test_answers_of_a_query_do_not_depend_on_its_neighbours(sampler):
    together = list(sampler.sample(REQUESTS, n=3, settings=SETTINGS))
    turned = list(sampler.sample(REQUESTS[::-1], n=3, settings=SETTINGS))[::-1]
    alone = [next(sampler.sample([request], n=3, settings=SETTINGS)) for request in REQUESTS]
    assert together == turned == alone
    assert len({answer.text for answers in together for answer in answers}) > len(REQUESTS)  # they do differ


def test_dropping_finished_queries_changes_nothing(tiny_model, sampler):
    long = replace(SETTINGS, max_tokens=150)
    small = TransformersSampler(tiny_model, device="cpu", rows=2)
    assert small.together(2) == 1
    assert list(small.sample(REQUESTS, n=2, settings=long)) == list(sampler.sample(REQUESTS, n=2, settings=long))


@pytest.mark.parametrize("rows", [2, 4, 64])
def test_threads_that_write_side_by_side_change_nothing(tiny_model, rows):
    sampler, found = TransformersSampler(tiny_model, device="cpu", rows=rows), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(list(sampler.sample(REQUESTS, n=2, settings=replace(SETTINGS, max_tokens=60))))
        assert torch.get_num_threads() == threads
    assert found[0] == found[1] == found[2]


def test_who_takes_no_more_answers_need_not_wait_for_them(tiny_model):
    sampler, begun = TransformersSampler(tiny_model, device="cpu", rows=1), []
    real = sampler._prompts
    sampler._prompts = lambda requests, context: begun.append(requests) or real(requests, context)
    torch.set_num_threads(2)
    found = sampler.sample(REQUESTS * 4, n=1, settings=SETTINGS)
    next(found)
    found.close()
    assert len(begun) < 8
    gone = Event()
    gone.set()
    assert sampler._answer(REQUESTS, 1, replace(SETTINGS, max_tokens=10_000), gone) == []


def test_another_seed_gives_other_answers(sampler):
    one, two = (list(sampler.sample(REQUESTS, n=2, settings=replace(SETTINGS, seed=seed))) for seed in (3, 4))
    assert one != two


def test_an_answer_cut_by_the_limit_is_not_finished(sampler):
    answers = [a for found in sampler.sample(REQUESTS, n=2, settings=SETTINGS) for a in found]
    assert all(answer.tokens <= 12 for answer in answers)
    assert all(answer.finished == (answer.tokens < 12) for answer in answers if answer.tokens < 12)
    assert any(not answer.finished for answer in answers)


def test_a_prompt_that_does_not_fit_is_named(sampler):
    with pytest.raises(SamplingError, match=r"prompt of q2 has \d+ tokens, the context is 40"):
        list(sampler.sample(REQUESTS, n=1, settings=replace(SETTINGS, context=40)))


def test_no_model_is_one_sentence(tmp_path):
    with pytest.raises(SamplingError, match="No model could be loaded"):
        TransformersSampler(tmp_path)


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"top_k": 2, "top_p": 1.0}, {0, 1}),  # only the two best
        ({"top_k": 0, "top_p": 0.6}, {0, 1}),  # 0.5 alone does not reach 0.6
        ({"top_k": 0, "top_p": 0.5}, {0}),  # it does reach 0.5
        ({"top_k": 3, "top_p": 1.0}, {0, 1, 2}),
        ({"top_k": 1, "top_p": 1.0}, {0}),
        ({"temperature": 0}, {0}),
    ],
)
def test_draw_keeps_to_the_best_tokens(changes, allowed):
    settings = replace(SamplingSettings(temperature=1.0), **changes)
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(1000, -1)
    chances = torch.arange(1000) / 1000
    drawn = draw(logits, chances, settings)
    assert set(drawn.tolist()) == allowed
    kept = torch.tensor([0.5, 0.3, 0.15, 0.05])[: len(allowed)]
    shares = torch.bincount(drawn, minlength=len(allowed)) / 1000
    torch.testing.assert_close(shares, kept / kept.sum(), atol=0.003, rtol=0)
