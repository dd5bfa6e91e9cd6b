"""The pre-training recipe of the lab Ad-LLM: corpus to tokenizer to weights, seeded and resumable.

Copying comes first, from random titles and two records upward: a model that learns answers at once never learns it.
A phase is data (presets.py), so a new skill is a task of the curriculum and one more share there. Each step's batch
follows from the seed and the step alone, so that a resumed run ends with the same weights.
"""

import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from multiprocessing.pool import Pool
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3ForCausalLM

from training.lab.curriculum import TASKS
from training.lab.export import export
from training.lab.groups import Group, Vocabulary
from training.lab.muon import Muon
from training.lab.network import guided_losses, new_classifier, new_model, prepared
from training.lab.presets import Phase, Preset, Share
from training.lab.tokenizer import CHAT_TEMPLATE, sample_texts, train_tokenizer
from training.lab.wiring import draw, smooth_bids, tell_topics, told_topics, wire_topics
from training.lab.words import prime_words, renew_words

RECIPE_VERSION = 15


@dataclass
class Progress:
    """Where a run stands; with the weights and optimizers, all that a resumed run needs."""

    phase: int = 0
    step: int = 0  # within the phase
    total: int = 0
    tokens: int = 0
    seconds: float = 0.0
    levels: dict[str, int] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    guidance: dict[str, float] = field(default_factory=dict)


def _optimizers(model: Qwen3ForCausalLM, classifier: torch.nn.Linear) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, which learns about twice as fast here, and AdamW for words, norms and classifier."""
    words = model.get_input_embeddings().weight
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter is not words]
    matrices = [parameter for parameter in learned if parameter.ndim == 2]
    others = [parameter for parameter in learned if parameter.ndim != 2]
    slow = {"params": [*others, *classifier.parameters()]}
    return [
        Muon(matrices, lr=0.02),
        torch.optim.AdamW([slow, {"params": [words], "lr": 1e-2}], lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _level_count(rng: random.Random, share: Share, level: int) -> int:
    """Mostly the newest open level, sometimes an older one; without a threshold, any count."""
    if share.threshold is None:
        return rng.choice(share.counts)
    newest = min(level, len(share.counts) - 1)
    return share.counts[newest if rng.random() < 0.8 else rng.randint(0, newest)]


_shared: list[Vocabulary] = []  # in a worker process: its vocabulary


def _share_vocabulary(vocabulary: Vocabulary) -> None:
    _shared[:] = [vocabulary]


def _make_group(vocabulary: Vocabulary, seed: str, share: Share, count: int) -> Group:
    return TASKS[share.task](random.Random(seed), vocabulary, count, share.branches)


def _make_shared_group(arguments: tuple[str, Share, int]) -> Group:
    return _make_group(_shared[0], *arguments)


def make_batch(
    *, phase: Phase, progress: Progress, vocabulary: Vocabulary, seed: int, pool: Pool | None = None, at_once: int = 1
) -> tuple[Share, list[Group]]:
    """The groups of one step, all of one task and with as many candidates, so that little is padding. They follow from
    seed, step and levels alone, however many are made at once in the processes of a pool.
    """
    step = f"{seed}/{phase.name}/{progress.step}"
    rng = random.Random(step)
    share = rng.choices(phase.shares, [share.weight for share in phase.shares])[0]
    candidates = _level_count(rng, share, progress.levels.get(share.task, 0))
    arguments = ((f"{step}/{number}", share, candidates) for number in count())
    groups: list[Group] = []
    while True:
        if pool:
            made = pool.map(_make_shared_group, islice(arguments, at_once), chunksize=1)
        else:
            made = [_make_group(vocabulary, *next(arguments))]
        for group in made:
            groups.append(group)
            if sum(group.size for group in groups) >= phase.tokens * 0.85:
                return share, groups


def _learn(
    model: Qwen3ForCausalLM,
    classifier: torch.nn.Linear,
    optimizers: list[torch.optim.Optimizer],
    groups: list[Group],
    *,
    rate: float,
) -> tuple[float, float, float]:
    """One step of gradient descent; returns the loss that decides about the task's next level, and the two losses of
    guidance.
    """
    fast = model.device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        losses, _, places, attention, topics = guided_losses(model, classifier, groups)
    branches = [branch for group in groups for branch in group.branches]
    deciding = torch.tensor([at in branches[row].decides for row, at in places.tolist()])
    decisive = losses[deciding.to(losses.device)].mean() if deciding.any() else losses.mean()
    (losses.mean() + decisive + 0.5 * attention + 0.5 * topics).backward()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.nn.utils.clip_grad_norm_([*learned, *classifier.parameters()], 1.0)
    for optimizer in optimizers:
        for settings in optimizer.param_groups:
            settings["lr"] = settings.setdefault("base_lr", settings["lr"]) * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    wire_topics(model)
    return decisive.item(), attention.item(), topics.item()


def _note(progress: Progress, share: Share, loss: float, attention: float = 0.0, topics: float = 0.0) -> None:
    """Update the task's running losses, and open its next level when the loss has fallen under the threshold."""
    for name, value in ((f"{share.task}:attention", attention), (f"{share.task}:topics", topics)):
        progress.guidance[name] = 0.9 * progress.guidance.get(name, value) + 0.1 * value
    before = progress.losses.get(share.task, max(loss, 1.0))
    running = progress.losses[share.task] = 0.9 * before + 0.1 * loss
    level = progress.levels.setdefault(share.task, 0)
    if share.threshold is not None and running < share.threshold and level < len(share.counts):
        progress.levels[share.task] = level + 1
        progress.losses[share.task] = max(2 * share.threshold, 0.5)


def _learned(phase: Phase, progress: Progress) -> bool:
    return phase.until_learned and all(progress.levels.get(s.task, 0) >= len(s.counts) for s in phase.shares)


def _save(path: Path, content: dict[str, object]) -> None:
    """Atomic: a run killed while it writes keeps the checkpoint before."""
    scratch = path.with_suffix(".part")
    torch.save(content, scratch)
    os.replace(scratch, path)


def _report(preset: Preset, progress: Progress, started: float, began: int) -> None:
    """One line on stderr with what is left of the planned steps."""
    planned = sum(phase.steps for phase in preset.phases[progress.phase :]) - progress.step
    pace = (time.monotonic() - started) / max(1, progress.total - began)
    state = " ".join(f"{task}@{progress.levels[task]} {loss:.3f}" for task, loss in progress.losses.items())
    shown = " ".join(f"{name} {loss:.2f}" for name, loss in progress.guidance.items() if loss)
    phase = preset.phases[progress.phase]
    print(
        f"{phase.name} {progress.step}/{phase.steps} | {state} | {shown} | {progress.tokens / 1e6:.2f}M tokens "
        f"{progress.seconds:.0f}s, {pace:.2f} s/step, ETA at most {planned * pace / 60:.0f} min",
        file=sys.stderr,
        flush=True,
    )


def train(
    *,
    preset: Preset,
    seed: int,
    work: Path,
    resume: bool,
    start: Path | None = None,
    device: str = "cpu",
    workers: int = 0,
    stop_after: int | None = None,
    on_step: Callable[[Progress, Qwen3ForCausalLM, Vocabulary], None] | None = None,
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast, Progress]:
    """Run the phases. `work` keeps the checkpoint; `workers` more processes make batches; `stop_after` ends early after
    that many steps in all. With `start`, the folder of a finished model, its tokenizer and weights go on, its bids
    smoothed.
    """
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint.pt"
    if not resume:
        checkpoint.unlink(missing_ok=True)
    torch.manual_seed(seed)
    if start:
        tok = AutoTokenizer.from_pretrained(start)
        tok.chat_template = CHAT_TEMPLATE  # what is practised is what is shown
        model = prepared(Qwen3ForCausalLM.from_pretrained(start, dtype=torch.float32))
    else:
        tok = train_tokenizer(sample_texts(seed, count=preset.texts), vocabulary=preset.vocabulary)
        model = new_model(
            vocabulary=len(tok), layers=preset.layers, eos=tok.eos_token_id, pad=tok.pad_token_id, seed=seed
        )
    vocabulary = Vocabulary(tok)
    classifier = new_classifier(model.config.hidden_size)
    progress = Progress()
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu") if checkpoint.exists() else None
    if saved:
        model.load_state_dict(saved["model"])
        classifier.load_state_dict(saved["classifier"])
        progress = Progress(**saved["progress"])
    elif start:
        told = renew_words(told_topics(model), classifier, vocabulary, steps=preset.words, seed=seed)
        tell_topics(model, told)
        smooth_bids(model, vocabulary.bids)
    else:
        draw(model, prime_words(classifier, vocabulary, steps=preset.words, seed=seed), vocabulary.bids)
        wire_topics(model)
    model.to(device)
    classifier.to(device)
    optimizers = _optimizers(model, classifier)
    for optimizer, state in zip(optimizers, saved["optimizers"] if saved else (), strict=False):
        optimizer.load_state_dict(state)
    model.train()
    started, began = time.monotonic(), progress.total

    def keep() -> None:
        _save(
            checkpoint,
            {
                "model": model.state_dict(),
                "classifier": classifier.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "progress": asdict(progress),
            },
        )

    with _makers(vocabulary, workers) as pool:
        while progress.phase < len(preset.phases):
            phase = preset.phases[progress.phase]
            while progress.step < phase.steps and not _learned(phase, progress):
                tick = time.monotonic()
                share, groups = make_batch(
                    phase=phase, progress=progress, vocabulary=vocabulary, seed=seed, pool=pool, at_once=workers
                )
                first, last = phase.rate
                rate = (first + (last - first) * progress.step / phase.steps) * min(1.0, (progress.total + 1) / 50)
                loss, attention, topics = _learn(model, classifier, optimizers, groups, rate=rate)
                _note(progress, share, loss, attention, topics)
                progress.step += 1
                progress.total += 1
                progress.tokens += sum(group.size for group in groups)
                progress.seconds += time.monotonic() - tick
                if progress.total % 20 == 0:
                    _report(preset, progress, started, began)
                if progress.total % 100 == 0:
                    keep()
                if on_step:
                    on_step(progress, model, vocabulary)
                if stop_after is not None and progress.total >= stop_after:
                    keep()
                    return model, tok, progress
            print(
                f"-> {phase.name} done after {progress.step} steps, {progress.seconds:.0f}s",
                file=sys.stderr,
                flush=True,
            )
            progress.phase += 1
            progress.step = 0
            keep()
    return model, tok, progress


def _makers(vocabulary: Vocabulary, workers: int) -> AbstractContextManager[Pool | None]:
    """Processes that make batches, or none."""
    if not workers:
        return nullcontext()
    context = multiprocessing.get_context("forkserver")  # a process that uses a GPU must not be forked
    context.set_forkserver_preload(["training.lab.curriculum"])  # imported once, not by each
    return context.Pool(workers, _share_vocabulary, (vocabulary,))


def build(
    *,
    preset: Preset,
    seed: int,
    out: Path,
    work: Path,
    resume: bool = False,
    start: Path | None = None,
    threads: int | None = None,
    device: str = "cpu",
    workers: int = 0,
    on_step: Callable[[Progress, Qwen3ForCausalLM, Vocabulary], None] | None = None,
) -> dict[str, object]:
    """The whole recipe: tokenizer, phases, and the finished folder at `out`. Returns the manifest written there."""
    if threads:
        torch.set_num_threads(threads)
    if device != "cpu":
        torch.set_float32_matmul_precision("high")
    model, tok, progress = train(
        preset=preset,
        seed=seed,
        work=work,
        resume=resume,
        start=start,
        device=device,
        workers=workers,
        on_step=on_step,
    )
    manifest: dict[str, object] = {
        "recipe_version": RECIPE_VERSION,
        "preset": preset.name,
        "seed": seed,
        "parameters": model.num_parameters(),
        "steps": progress.total,
        "tokens": progress.tokens,
        "levels": progress.levels,
    }
    export(model=model, tok=tok, out=out, manifest=manifest)
    return manifest
