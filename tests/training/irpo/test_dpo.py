import math
import shutil
import threading
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from transformers import get_cosine_schedule_with_warmup  # noqa: E402

from tests.training.irpo.shop import make_groups  # noqa: E402
from training.dataset.jsonl import DataError  # noqa: E402
from training.irpo import dpo  # noqa: E402
from training.irpo.config import DPOConfig, LoRA  # noqa: E402
from training.irpo.dpo import Diverged, backward, batches, dpo_loss, learning_rate, log_probs_of, train  # noqa: E402

CONFIG = DPOConfig(learning_rate=1e-2, batch_queries=2, precision="float32", checkpoint_every=1)
LOSERS = (3, 1, 2, 4, 1, 2, 3)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_eq_6_by_hand():
    # Winner +2 against the reference, losers -1 and +3: margins 0.1 * 3 and 0.1 * -1.
    policy, reference = torch.tensor([-10.0, -21.0, -27.0]), torch.tensor([-12.0, -20.0, -30.0])
    loss, margins = dpo_loss(policy, reference, beta=0.1)
    torch.testing.assert_close(margins, torch.tensor([0.3, -0.1]))
    assert float(loss) == pytest.approx(-(math.log(sigmoid(0.3)) + math.log(sigmoid(-0.1))) / 2)


def test_a_query_counts_once_however_many_lose(policy):
    model, tokenizer = policy
    groups = make_groups(tokenizer, losers=(4, 1))
    references = [tuple(value + shift for value, shift in zip(row, (0, 5, -3, 2, 1), strict=False))
                  for row in log_probs_of(model, groups, precision="float32")]  # fmt: skip
    figures = backward(model, groups, references, beta=0.1, precision="float32")
    one, two = ([-0.5, 0.3, -0.2, -0.1], [-0.5])  # beta * (0 - -shift of the loser), by hand
    losses = [[-math.log(sigmoid(-margin)) for margin in row] for row in (one, two)]
    assert figures["loss"] == pytest.approx((sum(losses[0]) / 4 + losses[1][0]) / 2, abs=1e-5)
    pooled = sum(map(sum, losses)) / 5
    assert abs(figures["loss"] - pooled) > 0.01  # what a mean over pairs would give
    assert figures["accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    assert figures["margin"] == pytest.approx((0.5 / 4 + 0.5) / 2, abs=1e-5)


def test_the_untouched_policy_is_its_own_reference(policy):
    model, tokenizer = policy
    groups = make_groups(tokenizer, losers=(3, 1))
    references = list(log_probs_of(model, groups, precision="float32"))
    figures = backward(model, groups, references, beta=0.1, precision="float32")
    assert (figures["margin"], figures["chosen_log_ratio"], figures["accuracy"]) == (0, 0, 0)
    assert figures["loss"] == pytest.approx(math.log(2))


def test_the_schedule_is_transformers_one_without_its_idle_first_step():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    theirs = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=3, num_training_steps=21)
    for number in range(1, 21):
        optimizer.step()
        theirs.step()
        ours = learning_rate(number, steps=20, config=replace(CONFIG, learning_rate=0.5))
        assert ours == pytest.approx(theirs.get_last_lr()[0])
        assert ours > 0


def test_every_group_is_in_one_step_and_the_seed_decides_which():
    plan = batches(7, size=3, seed=1)
    assert [len(batch) for batch in plan] == [3, 3, 1]
    assert sorted(at for batch in plan for at in batch) == list(range(7))
    assert plan == batches(7, size=3, seed=1) != batches(7, size=3, seed=2)


def run(tiny_policy, folder, **options):
    settings = {"config": CONFIG, "seed": 3} | options
    return train(
        policy=tiny_policy, tokenized=lambda tokenizer: make_groups(tokenizer, losers=LOSERS),
        work=folder / "dpo", out=folder / "policy", **settings,
    )  # fmt: skip


def weights(folder):
    return (folder / "policy" / "model.safetensors").read_bytes()


def test_training_makes_winners_likelier_than_losers(tiny_policy, tmp_path):
    steps = run(tiny_policy, tmp_path, config=replace(CONFIG, batch_queries=7, learning_rate=3e-3))
    assert len(steps) == 1
    again = run(tmp_path / "policy", tmp_path / "2", config=replace(CONFIG, batch_queries=7))
    before, after = steps[0], again[0]
    assert before.loss == pytest.approx(math.log(2))
    gap = before.chosen_log_prob - before.rejected_log_prob
    assert after.chosen_log_prob - after.rejected_log_prob > gap
    assert sorted(path.name for path in (tmp_path / "dpo").iterdir()) == ["reference.jsonl", "steps.jsonl"]


def test_a_run_killed_at_any_point_ends_with_the_same_bits(tiny_policy, tmp_path):
    calls = []
    whole = run(tiny_policy, tmp_path / "whole", progress=lambda *told: calls.append(told))
    assert len(whole) == 4
    assert len(calls) == len(LOSERS) + 5
    for stop in range(1, len(calls)):
        left = iter(range(stop))

        def fall(*_, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt

        folder = tmp_path / f"stop{stop}"
        with pytest.raises(KeyboardInterrupt):
            run(tiny_policy, folder, progress=fall)
        assert run(tiny_policy, folder) == whole
        assert weights(folder) == weights(tmp_path / "whole"), f"stopped at {calls[stop]}"


def test_queries_that_threads_read_side_by_side_give_the_same_bits(tiny_policy, tmp_path, monkeypatch):
    before, readers = torch.get_num_threads(), []
    real = dpo.log_probs
    monkeypatch.setattr(dpo, "log_probs", lambda *args: readers.append(threading.get_ident()) or real(*args))
    config = replace(CONFIG, batch_queries=4)  # the last of two steps has three queries
    found = {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            readers.clear()
            found[threads] = run(tiny_policy, tmp_path / str(threads), config=config)
            assert (threading.get_ident() in readers) == (threads == 1)
    finally:
        torch.set_num_threads(before)
    assert found[1] == found[2] == found[3]
    assert weights(tmp_path / "1") == weights(tmp_path / "2") == weights(tmp_path / "3")


def test_a_checkpoint_goes_on_with_the_optimizer_s_memory(tiny_policy, tmp_path, monkeypatch):
    run(tiny_policy, tmp_path / "whole")
    taken = []
    real = torch.optim.AdamW.step

    def step(self, *args):
        taken.append(1)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_policy, tmp_path / "cut")
    run(tiny_policy, tmp_path / "cut")
    assert len(taken) == 5  # two steps, the one that fell, and the two that were left
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_loss_that_is_no_number_stops_and_leaves_no_policy(tiny_policy, tmp_path, monkeypatch):
    real = dpo.dpo_loss
    monkeypatch.setattr(dpo, "dpo_loss", lambda *args, **options: tuple(x * math.nan for x in real(*args, **options)))
    with pytest.raises(Diverged, match="step 1 of 4: loss nan"):
        run(tiny_policy, tmp_path)
    assert not (tmp_path / "policy").exists()


def test_lora_trains_adapters_and_leaves_a_whole_model(tiny_policy, tmp_path):
    pytest.importorskip("peft")
    config = replace(CONFIG, lora=LoRA(rank=4, alpha=8))
    steps = run(tiny_policy, tmp_path / "a", config=config)
    assert steps[0].loss == pytest.approx(math.log(2))  # adapters begin at nothing
    before, after = (dpo.load_policy(path)[0].state_dict() for path in (tiny_policy, tmp_path / "a" / "policy"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("proj" in name for name in changed)
    run(tiny_policy, tmp_path / "b", config=config)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_embeddings_can_be_left_alone(tiny_policy, tmp_path):
    run(tiny_policy, tmp_path, config=replace(CONFIG, embeddings=False))
    before, after = (dpo.load_policy(path, device="cpu")[0] for path in (tiny_policy, tmp_path / "policy"))
    changed = {name for name, weight in after.named_parameters() if not torch.equal(weight, before.get_parameter(name))}
    assert not changed & {"model.embed_tokens.weight", "lm_head.weight"}
    assert "model.layers.0.mlp.up_proj.weight" in changed


@pytest.mark.parametrize("lora", [None, LoRA(rank=2, alpha=4)])
def test_lower_layers_can_be_left_alone(tiny_policy, tmp_path, lora):
    run(tiny_policy, tmp_path, config=replace(CONFIG, frozen=1, lora=lora))
    before, after = (dpo.load_policy(path, device="cpu")[0] for path in (tiny_policy, tmp_path / "policy"))
    changed = {name for name, weight in after.named_parameters() if not torch.equal(weight, before.get_parameter(name))}
    assert "model.layers.1.mlp.up_proj.weight" in changed
    assert not [name for name in changed if "layers.0." in name]


def test_a_model_without_so_many_layers_is_refused(tiny_policy, tmp_path):
    with pytest.raises(DataError, match="frozen is 2, and the model has only 2 layers"):
        run(tiny_policy, tmp_path, config=replace(CONFIG, frozen=2))


def test_references_of_other_groups_are_refused(tiny_policy, tmp_path):
    run(tiny_policy, tmp_path)
    shutil.rmtree(tmp_path / "policy")
    with pytest.raises(DataError, match=r"reference\.jsonl is not that of these groups"):
        train(
            policy=tiny_policy, tokenized=lambda tokenizer: make_groups(tokenizer, losers=(1, 1)), config=CONFIG,
            seed=3, work=tmp_path / "dpo", out=tmp_path / "policy",
        )  # fmt: skip


def test_no_model_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="No model could be loaded"):
        dpo.load_policy(tmp_path)
