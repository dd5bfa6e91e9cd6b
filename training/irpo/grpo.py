"""Online reinforcement learning of one epoch by TRL's GRPOTrainer: the paper's future work, beside DPO.

    steps.jsonl   one row per step
    scored.jsonl  every answer that was written while training, with its reward
    policy/       the new policy, beside this folder; it appears when training has ended

The policy writes M answers to each query of a batch, and those better than the others of their query are made likelier.
No checkpoints: what was killed begins the epoch again and, on the CPU and with as many threads, ends with the same
bits. Knows no ads; what an answer is worth it is told.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import ScoredResponse
from training.irpo.config import GRPOConfig
from training.irpo.dpo import Diverged, Progress, learning_rate, load_policy, save_policy
from training.irpo.preferences import rewards_to_learn
from training.simulation.sampling import Generated, Sampler, SampleRequest, SamplingSettings, seed_of


@dataclass(frozen=True)
class Written:
    """Answer `sample` to the request of this number."""

    number: int
    sample: int
    answer: Generated


Score = Callable[[Sequence[Written]], list[ScoredResponse]]

_LOGGED = {
    "learning_rate": "learning_rate", "loss": "loss", "grad_norm": "grad_norm", "reward": "reward",
    "reward_std": "reward_std", "share_alike": "frac_reward_zero_std", "entropy": "entropy", "kl": "kl",
    "tokens": "completions/mean_length", "share_cut": "completions/clipped_ratio",
    "ads": "ads", "share_with_format_error": "share_with_format_error",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step. Figures are means over the answers it was taken on."""

    step: int
    queries: int
    learning_rate: float
    loss: float  # near 0 by construction where answers are fresh: look at the reward
    grad_norm: float  # before clipping
    reward: float  # Eq. 8; of a cut or empty answer the worst of its query
    reward_std: float
    share_alike: float  # of the queries whose answers are all worth the same: they teach nothing
    entropy: float  # nats a token
    kl: float | None  # to the policy at the epoch's start, nats a token; None at beta 0
    tokens: float
    share_cut: float
    ads: float
    share_with_format_error: float


def train(
    *,
    policy: Path | str,
    requests: Sequence[SampleRequest],
    score: Score,
    samples: int,
    config: GRPOConfig,
    sampling: SamplingSettings,
    seed: int | str,
    work: Path,
    out: Path,
    sampler: Sampler | None = None,
    vllm: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> list[Step]:
    """Train `policy` on answers to the requests; the new policy appears in `out`. Raises Diverged and DataError.

    The policy writes the answers itself, by transformers or by vLLM; a `sampler` writes them instead where they shall
    be known. One pass: queries that fill no batch are left out, other ones by every seed.
    """
    if (out / "config.json").exists():
        return read_steps(work / "steps.jsonl")
    work.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_policy(policy)
    _check_lengths(tokenizer, requests, config, sampling)
    batch = min(config.batch_queries, len(requests))
    watch = _Watch(batch, len(requests) // batch, progress)
    rewards = _Rewards(score, samples, set(_ends(model, tokenizer)))

    # 1) TRL's trainer: the reward by our function, the schedule that DPO has.
    trainer = _trainer(
        model, tokenizer, requests, rewards, watch=watch, samples=samples, config=config, sampling=sampling,
        seed=seed, work=work, vllm=vllm,
        rollout=sampler and _Written(requests, sampler, tokenizer, samples=samples, sampling=sampling),
    )  # fmt: skip

    # 2) One pass over the queries.
    trainer.train()
    progress("grpo", watch.total, watch.total)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if not all(torch.isfinite(weight).all() for weight in trained.parameters()):
        raise Diverged("a weight is not a number after the last step")

    # 3) The new policy, with the configuration that it came with: the trainer has set some of its own.
    merged = trained.merge_and_unload() if config.lora else trained
    saved, _ = load_policy(policy, device="cpu")
    saved.load_state_dict(merged.state_dict())
    jsonl.write(work / "scored.jsonl", rewards.rows)
    jsonl.write(work / "steps.jsonl", watch.steps)
    save_policy(saved, load_tokenizer(policy), out)
    return watch.steps


def load_tokenizer(policy: Path | str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(policy)


def read_steps(path: Path) -> list[Step]:
    return list(jsonl.read(Step, path))


def told(steps: Sequence[Step]) -> dict[str, float | None]:
    """An epoch's training in a few numbers: means over its second half."""
    late = steps[len(steps) // 2 :]
    found: dict[str, float | None] = {"steps": len(steps)}
    for name in _LOGGED:
        values = [getattr(step, name) for step in late]
        found[name] = None if None in values else sum(values) / len(values)
    return found


def _check_lengths(
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[SampleRequest],
    config: GRPOConfig,
    sampling: SamplingSettings,
) -> None:
    for request in requests:
        rendered = tokenizer.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
        length = len(tokenizer(rendered, add_special_tokens=False)["input_ids"])
        if length + sampling.max_tokens > config.context:
            raise DataError(
                f"the prompt of {request.id} has {length} tokens and its answer may have {sampling.max_tokens},"
                f" the context is {config.context}"
            )


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ends = model.generation_config.eos_token_id
    return [tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [] if ends is None else [ends])]


def _trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[SampleRequest],
    rewards: "_Rewards",
    *,
    watch: "_Watch",
    samples: int,
    config: GRPOConfig,
    sampling: SamplingSettings,
    seed: int | str,
    work: Path,
    vllm: bool,
    rollout: Any,
) -> Any:
    """A step is `batch` queries with all their answers, one query at a time, so that memory does not grow with it."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig as TRLConfig
    from trl import GRPOTrainer

    settings = TRLConfig(
        output_dir=str(work),
        seed=seed_of("grpo", seed, bits=31),
        beta=config.beta,
        learning_rate=config.learning_rate,
        max_grad_norm=config.max_grad_norm,
        weight_decay=0.0,
        num_generations=samples,
        per_device_train_batch_size=samples,
        gradient_accumulation_steps=watch.queries,
        num_train_epochs=1,
        max_completion_length=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        use_vllm=vllm,
        vllm_max_model_length=config.context if vllm else None,
        bf16=config.precision == "bf16",
        gradient_checkpointing=False,
        disable_dropout=True,
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    lora = config.lora and LoraConfig(r=config.lora.rank, lora_alpha=config.lora.alpha, target_modules="all-linear")
    rows = [{"prompt": list(request.messages), "number": number} for number, request in enumerate(requests)]
    trainer = GRPOTrainer(
        model=model,
        args=settings,
        reward_funcs=rewards,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[watch],
        rollout_func=rollout,
    )
    trainer.remove_callback(PrinterCallback)  # it would write between the lines of --json
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    trainer.optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0)
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
        trainer.optimizer,
        lambda done: learning_rate(min(done + 1, watch.total), steps=watch.total, config=config) / config.learning_rate,
    )
    return trainer


class _Rewards:
    """What TRL calls for the rewards of all answers of a step, the answers of a query behind one another."""

    __name__ = "reward"

    def __init__(self, score: Score, samples: int, ends: set[int]) -> None:
        self.rows: list[ScoredResponse] = []
        self._score, self._samples, self._ends = score, samples, ends

    def __call__(self, *, completions, completion_ids, number, log_metric, **_: Any) -> list[float]:
        written = [
            Written(at, place % self._samples, Generated(text[0]["content"], len(tokens), tokens[-1] in self._ends))
            for place, (at, text, tokens) in enumerate(zip(number, completions, completion_ids, strict=True))
        ]
        rows = self._score(written)
        self.rows += rows
        log_metric("ads", sum(row.n_ads for row in rows) / len(rows))
        log_metric("share_with_format_error", sum(row.format_error for row in rows) / len(rows))
        queries = (rows[at : at + self._samples] for at in range(0, len(rows), self._samples))
        return [reward for answers in queries for reward in rewards_to_learn(answers)]


class _Watch(TrainerCallback):
    """Keeps a row of every step, and ends the training where a figure is no number."""

    def __init__(self, queries: int, total: int, progress: Progress) -> None:
        self.steps: list[Step] = []
        self.queries, self.total, self._progress = queries, total, progress

    def on_step_begin(self, args, state, control, **_: Any) -> None:
        self._progress("grpo", state.global_step, self.total)

    def on_log(self, args, state, control, logs: dict[str, Any], **_: Any) -> None:
        if "loss" not in logs:  # the summary at the end
            return
        figures = {name: logs.get(key) for name, key in _LOGGED.items()}
        wrong = [name for name, value in figures.items() if value is not None and not math.isfinite(value)]
        if wrong:
            told = ", ".join(f"{name} {figures[name]}" for name in wrong)
            raise Diverged(f"step {state.global_step} of {self.total}: {told}")
        self.steps.append(Step(step=state.global_step, queries=self.queries, **figures))


class _Written:
    """Answers that a sampler writes in the policy's place, as tokens: TRL calls it with every prompt M times."""

    def __init__(
        self,
        requests: Sequence[SampleRequest],
        sampler: Sampler,
        tokenizer: PreTrainedTokenizerBase,
        *,
        samples: int,
        sampling: SamplingSettings,
    ) -> None:
        self._by_text = {request.messages[-1]["content"]: request for request in requests}
        self._sampler, self._tokenizer, self._samples, self._sampling = sampler, tokenizer, samples, sampling

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        asked = [self._by_text[messages[-1]["content"]] for messages in prompts[:: self._samples]]
        rendered = [
            self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
            for messages in prompts
        ]
        texts = self._sampler.sample(asked, n=self._samples, settings=self._sampling)
        return {
            "prompt_ids": self._tokenizer(rendered, add_special_tokens=False)["input_ids"],
            "completion_ids": [
                self._tokenizer(answer.text, add_special_tokens=False)["input_ids"]
                + [self._tokenizer.eos_token_id] * answer.finished
                for answers in texts
                for answer in answers
            ],
            "logprobs": None,
        }
