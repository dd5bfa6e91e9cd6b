from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.training.irpo.shop import make_groups  # noqa: E402
from training.irpo.dpo import backward, log_probs_of  # noqa: E402
from training.irpo.trl_pairs import pairs, plain_trainer  # noqa: E402


@pytest.mark.slow
def test_loss_and_gradients_are_those_of_trl(policy, tmp_path):
    model, tokenizer = policy
    groups = make_groups(tokenizer, losers=(3, 3))
    references = list(log_probs_of(model, groups, precision="float32"))
    trainer = plain_trainer(model, tokenizer, groups, beta=0.1, out=tmp_path)
    (batch,) = trainer.get_train_dataloader()
    chosen = sorted(row[0] for row in references * 3)
    assert sorted(batch["ref_chosen_logps"].tolist()) == pytest.approx(chosen, abs=1e-4)

    # Move away from the reference, or every margin is 0 and every loss is log 2.
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    model.zero_grad()
    ours = backward(model, groups, references, beta=0.1, precision="float32")
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    loss = trainer.compute_loss(model, batch)
    loss.backward()
    assert abs(ours["margin"]) > 0.02
    assert ours["loss"] == pytest.approx(loss.item(), abs=1e-5)
    for name, weight in model.named_parameters():
        assert (gradients[name] - weight.grad).norm() <= 1e-4 * weight.grad.norm(), name


def test_what_trl_would_weigh_or_end_otherwise_is_refused(policy):
    _, tokenizer = policy
    with pytest.raises(ValueError, match="as many losers"):
        pairs(make_groups(tokenizer, losers=(3, 2)), tokenizer)
    (group,) = make_groups(tokenizer, losers=(2,))
    cut = replace(group, answers=[*group.answers[:-1], group.answers[-1][:-1]])
    with pytest.raises(ValueError, match="cut answers"):
        pairs([cut], tokenizer)


def test_pairs_are_the_winner_with_each_loser(policy):
    _, tokenizer = policy
    (group,) = make_groups(tokenizer, losers=(2,))
    rows = pairs([group], tokenizer)
    assert len(rows) == 2
    assert {row["chosen"] for row in rows} == {tokenizer.decode(group.answers[0][:-1])}
    assert [tokenizer(row["rejected"])["input_ids"] for row in rows] == [loser[:-1] for loser in group.answers[1:]]
