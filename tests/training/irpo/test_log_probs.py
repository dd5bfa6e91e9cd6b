import pytest

torch = pytest.importorskip("torch")

from tests.training.irpo.shop import asked, make_groups  # noqa: E402
from training.dataset.jsonl import DataError  # noqa: E402
from training.irpo.log_probs import Answers, branched, can_branch, log_probs, tokenize, whole  # noqa: E402


def naive(model, group):
    """One answer at a time, one token at a time: the definition."""
    found = []
    for answer in group.answers:
        logits = model(input_ids=torch.tensor([group.prompt + answer])).logits[0].log_softmax(-1)
        found.append(sum(logits[len(group.prompt) - 1 + at, token] for at, token in enumerate(answer)))
    return torch.stack(found)


def gradients(model, value):
    model.zero_grad()
    value.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("way", [branched, whole, log_probs])
def test_log_probabilities_are_those_of_each_answer_alone(policy, way):
    model, tokenizer = policy
    for group in make_groups(tokenizer, losers=(1, 4, 2)):
        with torch.no_grad():
            torch.testing.assert_close(way(model, group), naive(model, group), atol=1e-5, rtol=1e-6)


def test_gradients_flow_through_the_shared_prompt(policy):
    model, tokenizer = policy
    (group,) = make_groups(tokenizer, losers=(4,))
    weights = torch.tensor([1.0, -0.5, -0.2, -0.2, -0.1])  # as in DPO, winner against losers
    ours = gradients(model, (branched(model, group) * weights).sum())
    plain = gradients(model, (naive(model, group) * weights).sum())
    for name, gradient in plain.items():
        assert (ours[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_the_last_layer_makes_nothing_of_a_prompt_but_of_its_last_token(policy):
    model, tokenizer = policy
    (group,) = make_groups(tokenizer, losers=(2,))
    read = []
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda module, args, out: read.append(tuple(out.shape[:2])))
    branched(model, group)
    prompt, answers = (1, len(group.prompt) - 1), (3, max(map(len, group.answers)))
    assert read == [prompt, answers, answers]  # two layers


def test_a_prompt_of_one_token_has_nothing_to_share(policy):
    model, _ = policy
    group = Answers("q", [5], [[9, 10, 2], [9, 2]])
    with torch.no_grad():
        torch.testing.assert_close(log_probs(model, group), naive(model, group))


def test_an_answer_of_one_token_counts_its_end(policy):
    model, tokenizer = policy
    group = tokenize(tokenizer, query_id="q1", messages=asked(1), texts=[("", True), ("", True)], context=4000)
    assert group.answers == [[tokenizer.eos_token_id]] * 2
    with torch.no_grad():
        torch.testing.assert_close(branched(model, group), naive(model, group))


def test_a_model_that_forgets_the_prompt_is_read_the_plain_way(policy):
    model, _ = policy
    assert can_branch(model)
    model.config.layer_types = ["full_attention", "sliding_attention"]
    assert not can_branch(model)


def test_tokens_are_those_the_sampler_gave_and_the_end_only_where_it_came(policy):
    _, tokenizer = policy
    texts = [("Warm the pot.", True), ("Warm the", False)]
    group = tokenize(tokenizer, query_id="q1", messages=asked(1), texts=texts, context=4000)
    assert tokenizer.decode(group.prompt).endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(group.answers[0]) == "Warm the pot.<|im_end|>"
    assert tokenizer.decode(group.answers[1]) == "Warm the"


@pytest.mark.parametrize(
    ("texts", "context", "complaint"),
    [
        ([("Tea.", True), ("", False)], 4000, "an answer to q1 has no tokens"),
        ([("Tea.", True), ("Pour. " * 300, True)], 1000, r"to q1 have \d+ \+ \d+ tokens, the context is 1000"),
    ],
)
def test_empty_and_overlong_answers_are_refused_never_cut(policy, texts, context, complaint):
    with pytest.raises(DataError, match=complaint):
        tokenize(policy[1], query_id="q1", messages=asked(1), texts=texts, context=context)


def test_answers_hold_no_padding(policy):
    model, _ = policy
    group = Answers("q", [5, 6, 7, 8], [[9, 10, 11, 2], [9, 2]])
    padded = branched(model, group)
    alone = [branched(model, Answers("q", group.prompt, [answer])) for answer in group.answers]
    torch.testing.assert_close(padded, torch.cat(alone), atol=1e-5, rtol=1e-6)
