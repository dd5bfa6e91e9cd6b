"""Direct Preference Optimization of one epoch, Eq. 6: the policy against itself as it was when the epoch began.

    reference.jsonl  log-probabilities of the untouched policy, computed before the first step
    checkpoint.pt    weights, optimizer and steps so far; gone when the policy is saved
    steps.jsonl      one row per step
    policy/          the new policy, beside this folder; it appears when training has ended

A second model is never in memory. A step draws nothing at random, and its batch follows from seed and step, so a run
that was killed ends with the same bits on the CPU, given as many threads. Several processes keep no checkpoints: theirs
begins the epoch again. Knows no ads and no rewards.
"""

import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from training.dataset import jsonl
from training.dataset.device import default_device, side_by_side
from training.dataset.jsonl import DataError
from training.irpo.config import DPOConfig, Precision
from training.irpo.log_probs import Answers, log_probs
from training.irpo.workers import Workers, full, local

Progress = Callable[[str, int, int], None]  # stage, done, in all


class Diverged(RuntimeError):
    """A loss or a gradient is no longer a number; the policy before the epoch is untouched."""


@dataclass(frozen=True)
class ReferenceRow:
    """Log-probabilities of one group's answers under the policy at the epoch's start, the winner's first."""

    query_id: str
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """One step. Figures are means over its queries, within a query over its losers."""

    step: int
    queries: int
    learning_rate: float
    loss: float  # Eq. 6
    margin: float  # beta * (log-ratio of the winner less that of the loser)
    accuracy: float  # share of losers with a margin above 0
    chosen_log_prob: float
    rejected_log_prob: float
    chosen_log_ratio: float  # against the reference; below 0: even the winner becomes less likely
    rejected_log_ratio: float
    grad_norm: float  # before clipping


def dpo_loss(policy: torch.Tensor, reference: torch.Tensor, *, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 6 of one query, and its margins (K - 1,). Both (K,) log-probabilities, the winner's first."""
    ratios = policy - reference
    margins = beta * (ratios[0] - ratios[1:])
    return -functional.logsigmoid(margins).mean(), margins


def learning_rate(number: int, *, steps: int, config: DPOConfig) -> float:
    """Of step `number`, counted from 1: a linear warm-up, then half a cosine towards 0 (App. B.2.3).

    transformers' schedule for one more step, whose first has the rate 0.
    """
    warmup = math.ceil((steps + 1) * config.warmup_ratio)
    if number < warmup:
        return config.learning_rate * number / warmup
    done = (number - warmup) / (steps + 1 - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def batches(count: int, *, size: int, seed: int | str) -> list[list[int]]:
    """The order of one pass over all groups, cut into steps; the last may be smaller."""
    order = list(range(count))
    random.Random(repr(("dpo", str(seed)))).shuffle(order)
    return [order[start : start + size] for start in range(0, count, size)]


def load_policy(
    policy: Path | str, *, device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Weights in float32, whatever the arithmetic: at 1e-6, steps on bfloat16 weights would be rounded away.

    In eval mode there is neither dropout nor gradient checkpointing, which would do without the cache.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(policy)
    except (OSError, ValueError) as error:
        raise DataError(f"No model could be loaded from {policy}: {str(error).splitlines()[0]}") from None
    if tokenizer.eos_token_id is None or tokenizer.chat_template is None:
        raise DataError(f"The tokenizer in {policy} names no end token or has no chat template")
    return model.eval().to(device or default_device()), tokenizer


@contextmanager
def arithmetic(model: PreTrainedModel, precision: Precision) -> Iterator[None]:
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def log_probs_of(
    model: PreTrainedModel, groups: Sequence[Answers], *, precision: Precision
) -> Iterator[tuple[float, ...]]:
    """Without gradients, by the very forward that training uses: equal weights give equal numbers."""

    @torch.no_grad()
    def read(group: Answers, gone: Event) -> tuple[float, ...]:
        with arithmetic(model, precision):
            return tuple(log_probs(model, group).tolist())

    return side_by_side(read, groups, threads=_threads(model))


def backward(
    model: PreTrainedModel,
    groups: Sequence[Answers],
    references: Sequence[tuple[float, ...]],
    *,
    beta: float,
    precision: Precision,
    weights: Sequence[float] | None = None,
) -> dict[str, float]:
    """Add the gradients of one batch, query by query to bound memory; returns a Step's figures.

    `weights` are the queries' shares of the mean: equal ones, unless said otherwise.
    """
    weights = weights or [1 / len(groups)] * len(groups)
    names = ("loss", "margin", "accuracy", "chosen_log_prob", "rejected_log_prob")
    sums = dict.fromkeys((*names, "chosen_log_ratio", "rejected_log_ratio"), 0.0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    threads = _threads(model) if len(groups) > 1 else 1  # a lone query's work is shared by all threads

    def learn(part: tuple[Answers, tuple[float, ...], float], gone: Event) -> tuple[Sequence[torch.Tensor | None], ...]:
        group, reference, weight = part
        before = torch.tensor(reference, device=model.device)
        with arithmetic(model, precision):
            now = log_probs(model, group)
        loss, margins = dpo_loss(now, before, beta=beta)
        if threads > 1:
            gradients = torch.autograd.grad(loss * weight, trained, allow_unused=True)
        else:
            (loss * weight).backward()
            gradients = ()
        now, margins = now.detach(), margins.detach()
        ratios = now - before
        figures = (loss.detach(), margins.mean(), (margins > 0).float().mean(), now[0], now[1:].mean())
        return gradients, (*figures, ratios[0], ratios[1:].mean())

    parts = list(zip(groups, references, weights, strict=True))
    found = side_by_side(learn, parts, threads=threads)
    for (gradients, figures), weight in zip(found, weights, strict=True):
        for parameter, gradient in zip(trained if gradients else (), gradients, strict=True):
            if gradient is not None:  # added up in the queries' order
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        for name, value in zip(sums, figures, strict=True):
            sums[name] += float(value) * weight
    return sums


def _threads(model: PreTrainedModel) -> int:
    """How many queries are read at once. A sharded model's processes must take the same ones in the same order."""
    return torch.get_num_threads() if model.device.type == "cpu" and not isinstance(model, FSDPModule) else 1


def train(
    *,
    policy: Path | str,
    tokenized: Callable[[PreTrainedTokenizerBase], list[Answers]],
    config: DPOConfig,
    seed: int | str,
    work: Path,
    out: Path,
    progress: Progress = lambda stage, done, total: None,
) -> list[Step]:
    """Train `policy` on the groups that `tokenized` gives for its tokenizer; the new policy appears in `out`.

    Raises Diverged and DataError.
    """
    if (out / "config.json").exists():
        return list(jsonl.read(Step, work / "steps.jsonl"))
    workers = Workers()
    if workers.count > 1 and config.lora:
        raise DataError("LoRA is for one process: a model of several is sharded and trained whole")
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)  # LoRA draws its first weights
    model, tokenizer = load_policy(policy)
    groups = tokenized(tokenizer)
    if not config.embeddings:
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.requires_grad_(False)
    if config.frozen:
        layers = model.get_decoder().layers
        if config.frozen >= len(layers):
            raise DataError(f"frozen is {config.frozen}, and the model has only {len(layers)} layers")
        for layer in layers[: config.frozen]:
            layer.requires_grad_(False)
    model = workers.shard(model)

    # 1) What is trained; named before the first forward, which leaves some of a sharded model's weights gathered.
    if config.lora:
        from peft import LoraConfig, get_peft_model

        below = rf".*\.layers\.({'|'.join(map(str, range(config.frozen)))})\..*" if config.frozen else None
        adapters = LoraConfig(
            r=config.lora.rank, lora_alpha=config.lora.alpha, target_modules="all-linear", exclude_modules=below
        )
        model = get_peft_model(model, adapters).eval()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    # 2) The reference: this very model, before any step (fresh adapters add nothing). Then, where training stands.
    references = _references(model, groups, work / "reference.jsonl", config, workers, progress)
    optimizer = torch.optim.AdamW(trained.values(), lr=config.learning_rate, weight_decay=0.0)
    steps = _restore(work / "checkpoint.pt", trained, optimizer)
    plan = batches(len(groups), size=config.batch_queries, seed=seed)

    # 3) One pass over the groups.
    for number in range(len(steps), len(plan)):
        progress("dpo", number, len(plan))
        rate = learning_rate(number + 1, steps=len(plan), config=config)
        for setting in optimizer.param_groups:
            setting["lr"] = rate
        batch = plan[number]
        mine = workers.share(batch)
        figures = backward(
            model, [groups[at] for at, _ in mine], [references[at] for at, _ in mine], beta=config.beta,
            precision=config.precision, weights=[weight / len(batch) for _, weight in mine],
        )  # fmt: skip
        figures = workers.summed(figures, model.device)
        norm = full(torch.nn.utils.clip_grad_norm_(trained.values(), config.max_grad_norm))
        if not (math.isfinite(figures["loss"]) and math.isfinite(norm)):
            raise Diverged(f"step {number + 1} of {len(plan)}: loss {figures['loss']}, gradient norm {norm}")
        optimizer.step()
        optimizer.zero_grad()
        steps.append(Step(step=number + 1, queries=len(batch), learning_rate=rate, grad_norm=norm, **figures))
        if workers.count == 1 and len(steps) % config.checkpoint_every == 0 and len(steps) < len(plan):
            _checkpoint(work / "checkpoint.pt", trained, optimizer, steps)
    progress("dpo", len(plan), len(plan))

    # 4) The new policy.
    broken = any(not torch.isfinite(local(weight)).all() for weight in trained.values())
    if workers.summed({"broken": float(broken)}, model.device)["broken"]:
        raise Diverged("a weight is not a number after the last step")
    weights = workers.whole(model)
    if workers.main:
        jsonl.write(work / "steps.jsonl", steps)
        save_policy(model.merge_and_unload() if config.lora else model, tokenizer, out, weights=weights)
        (work / "checkpoint.pt").unlink(missing_ok=True)
    workers.wait()
    return steps


def save_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    *,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """The whole folder or none; `weights` are the model's own where they are not sharded."""
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    model.save_pretrained(scratch, **({"state_dict": weights} if weights else {}))
    tokenizer.save_pretrained(scratch)
    os.rename(scratch, out)


def _references(
    model: PreTrainedModel,
    groups: Sequence[Answers],
    path: Path,
    config: DPOConfig,
    workers: Workers,
    progress: Progress,
) -> list[tuple[float, ...]]:
    if workers.count > 1:
        mine = [at for at, _ in workers.share(range(len(groups)))]
        found = log_probs_of(model, [groups[at] for at in mine], precision=config.precision)
        rows = workers.gathered(dict(zip(mine, found, strict=True)))
        return [rows[at] for at in range(len(groups))]
    if not path.exists():
        with jsonl.growing(path) as file:
            todo = groups[file.count :]
            for group, found in zip(todo, log_probs_of(model, todo, precision=config.precision), strict=True):
                progress("reference", file.count, len(groups))
                file.add([ReferenceRow(group.query_id, found)])
    rows = list(jsonl.read(ReferenceRow, path))
    if [(row.query_id, len(row.log_probs)) for row in rows] != [(g.query_id, len(g.answers)) for g in groups]:
        raise DataError(f"{path.name} is not that of these groups; delete {path.parent.name} to begin the epoch anew")
    return [row.log_probs for row in rows]


def _checkpoint(
    path: Path, trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: Sequence[Step]
) -> None:
    scratch = path.with_name(path.name + ".part")
    weights = {name: weight.detach() for name, weight in trained.items()}
    torch.save(
        {"weights": weights, "optimizer": optimizer.state_dict(), "steps": [asdict(step) for step in steps]}, scratch
    )
    os.replace(scratch, path)


def _restore(path: Path, trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> list[Step]:
    if not path.exists():
        return []
    there = torch.load(path, map_location="cpu", weights_only=True)
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(there["weights"][name])
    optimizer.load_state_dict(there["optimizer"])
    return [Step(**step) for step in there["steps"]]
