"""Online RL by TRL's trainer: what is worth more becomes likelier, and the model is saved as it came."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.training.irpo.shop import TEXTS  # noqa: E402
from training.dataset.jsonl import DataError  # noqa: E402
from training.dataset.records import ScoredResponse  # noqa: E402
from training.irpo import grpo  # noqa: E402
from training.irpo.config import GRPOConfig, LoRA  # noqa: E402
from training.irpo.dpo import Diverged, learning_rate  # noqa: E402
from training.irpo.preferences import rewards_to_learn  # noqa: E402
from training.simulation.sampling import SampleRequest, SamplingSettings, ScriptedSampler  # noqa: E402

REQUESTS = [
    SampleRequest(f"q{number}", [{"role": "user", "content": f"How do I brew tea {number}?"}]) for number in range(6)
]
CONFIG = GRPOConfig(learning_rate=3e-3, batch_queries=2, precision="float32")
SAMPLING = SamplingSettings(max_tokens=12, top_k=0, top_p=1.0, temperature=1.0)


def worth_an_e(written):
    """One unit for every letter e, as if every answer had ended: those of the tiny model never do."""
    return [
        ScoredResponse(
            f"q{one.number}", one.sample, one.answer.text, one.answer.tokens, True,
            reward=one.answer.text.count("e"), n_ads=1, format_error=False,
        )
        for one in written
    ]  # fmt: skip


def run(policy, folder, **options):
    settings = {"config": CONFIG, "score": worth_an_e, "seed": 1, "requests": REQUESTS} | options
    return grpo.train(
        policy=policy, samples=4, sampling=SAMPLING, work=folder / "grpo", out=folder / "policy", **settings
    )


def weights(folder):
    return (folder / "policy" / "model.safetensors").read_bytes()


def test_what_is_worth_more_becomes_likelier(tiny_policy, tmp_path):
    many = [replace(REQUESTS[number % 6], id=f"q{number}") for number in range(80)]
    config = replace(CONFIG, beta=0.0, batch_queries=4, learning_rate=1e-2)
    steps = run(tiny_policy, tmp_path, requests=many, config=config)
    assert len(steps) == 20
    rewards = [step.reward for step in steps]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 1
    assert steps[0].kl is None
    rows = list(grpo.jsonl.read(ScoredResponse, tmp_path / "grpo" / "scored.jsonl"))
    assert len(rows) == 20 * 4 * 4
    assert grpo.read_steps(tmp_path / "grpo" / "steps.jsonl") == steps
    told = grpo.told(steps)
    assert told["reward"] == pytest.approx(sum(rewards[10:]) / 10)
    assert (told["steps"], told["kl"], told["ads"]) == (20, None, 1.0)


def test_the_same_seed_gives_the_same_bits_and_the_configuration_stays(tiny_policy, tmp_path):
    steps = run(tiny_policy, tmp_path / "one")
    assert run(tiny_policy, tmp_path / "two") == steps
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert weights(tmp_path / "one") != (tiny_policy / "model.safetensors").read_bytes()
    assert [step.learning_rate for step in steps] == [learning_rate(n, steps=3, config=CONFIG) for n in (1, 2, 3)]
    assert steps[0].kl == pytest.approx(0, abs=1e-6)  # the policy is its own reference
    assert steps[-1].kl > 1e-6
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        found, wanted = (json.loads((folder / name).read_text()) for folder in (tmp_path / "one/policy", tiny_policy))
        assert found == wanted, name
    assert run(tiny_policy, tmp_path / "one", score=None) == steps  # it is finished: nothing is done again


def test_given_answers_are_what_is_learned_from(tiny_policy, tmp_path):
    sampler = ScriptedSampler(lambda request, number, seed: TEXTS[number])

    def score(written):
        rows = zip(worth_an_e(written), written, strict=True)
        return [replace(row, finished=one.answer.finished) for row, one in rows]

    steps = run(tiny_policy, tmp_path, sampler=sampler, score=score)
    rows = list(grpo.jsonl.read(ScoredResponse, tmp_path / "grpo" / "scored.jsonl"))
    assert [row.text for row in rows[:4]] == [" ".join(text.split()[:12]) for text in TEXTS[:4]]
    assert [row.sample for row in rows[:4]] == [0, 1, 2, 3]
    assert sorted(sampler.asked) == sorted(request.id for request in REQUESTS)
    assert any(not row.finished for row in rows[:8])
    learned = [reward for at in (0, 4) for reward in rewards_to_learn(rows[at : at + 4])]
    assert steps[0].reward == sum(learned) / 8
    assert steps[0].share_cut == sum(len(text.split()) > 12 for text in TEXTS[:4]) / 4


def test_adapters_are_merged_when_the_epoch_ends(tiny_policy, tmp_path):
    run(tiny_policy, tmp_path, config=replace(CONFIG, lora=LoRA(rank=2, alpha=4), learning_rate=1e-1))
    assert weights(tmp_path) != (tiny_policy / "model.safetensors").read_bytes()
    assert grpo.load_policy(tmp_path / "policy")[0].config.num_hidden_layers == 2


def test_a_reward_that_is_no_number_leaves_no_policy(tiny_policy, tmp_path):
    def poisoned(written):
        return [replace(row, reward=float("inf")) for row in worth_an_e(written)]

    with pytest.raises(Diverged, match="step 1 of 3: "):
        run(tiny_policy, tmp_path, score=poisoned)
    assert not (tmp_path / "policy").exists()


def test_a_prompt_that_leaves_no_room_is_named(tiny_policy, tmp_path):
    with pytest.raises(DataError, match=r"the prompt of q\d has .* the context is 30"):
        run(tiny_policy, tmp_path, config=replace(CONFIG, context=30))
