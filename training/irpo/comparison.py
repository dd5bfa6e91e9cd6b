"""Our DPO step against TRL's, on the same answers, on this machine, in turns. Knows no ads and no world.

A step is the loss and its gradients: clipping and AdamW behind them are the same for both. Peak memory is that of a
child process each, which loads the same libraries and takes one step; on a GPU it is what tensors take there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from transformers import PreTrainedModel

from training.dataset.device import default_device
from training.irpo.config import Precision
from training.irpo.dpo import arithmetic, backward, load_policy, log_probs_of
from training.irpo.log_probs import Answers

BETA = 0.1
NOISE = 0.02  # of a weight's own spread, so that policy and reference differ


@dataclass(frozen=True)
class DPOReport:
    """Targets: time_ratio at least 8; in float32 loss_difference at most 1e-5, gradient_difference at most 1e-4."""

    device: str
    precision: Precision
    parameters: int

    queries: int
    losers: int
    prompt_tokens: int
    answer_tokens: float  # mean
    threads: int
    our_seconds: float
    trl_seconds: float
    time_ratio: float  # TRL's seconds over ours: median of the rounds
    cpu_ratio: float  # the same in processor time, which other work on the machine disturbs less
    loss: float
    loss_difference: float
    gradient_difference: float  # the largest over all weights, relative to TRL's norm
    our_peak_mib: float
    trl_peak_mib: float
    memory_ratio: float  # TRL's peak over ours, libraries and weights included
    step_memory_ratio: float  # what a step adds to the memory that the process had before


def compare(
    model: Path,
    groups: Sequence[Answers],
    *,
    precision: Precision,
    seconds: float,
    rounds: int,
    say: Callable[[str], None],
) -> DPOReport:
    """Ours is repeated for about `seconds` a round, TRL's step is taken once."""
    ours, theirs = _Ours(model, groups, precision), _TRLs(model, groups, precision)
    loss, found = ours.step()
    their_loss, wanted = theirs.step()
    difference = max(float((found[name] - wanted[name]).norm() / wanted[name].norm()) for name in wanted)
    mine, other = [], []  # (wall, processor) seconds a step, one pair a round
    for number in range(1, rounds + 1):
        taken = [_timed(ours)]
        while sum(wall for wall, _ in taken) < seconds:
            taken.append(_timed(ours))
        mine.append(tuple(sum(column) / len(taken) for column in zip(*taken, strict=True)))
        other.append(_timed(theirs))
        say(f"round {number} of {rounds}: ours {mine[-1][0]:.2f} s, TRL {other[-1][0]:.2f} s")
    wall_ratio, cpu_ratio = (
        median(theirs[clock] / ours[clock] for ours, theirs in zip(mine, other, strict=True)) for clock in (0, 1)
    )
    say("measuring memory")
    (our_peak, our_growth), (trl_peak, trl_growth) = (
        _memory(kind, model, groups, precision) for kind in ("ours", "trl")
    )
    answers = [answer for group in groups for answer in group.answers]
    return DPOReport(
        device=_device_name(),
        precision=precision,
        parameters=sum(weight.numel() for weight in found.values()),
        queries=len(groups),
        losers=len(groups[0].answers) - 1,
        prompt_tokens=round(sum(len(group.prompt) for group in groups) / len(groups)),
        answer_tokens=round(sum(map(len, answers)) / len(answers), 1),
        threads=torch.get_num_threads(),
        our_seconds=round(median(wall for wall, _ in mine), 3),
        trl_seconds=round(median(wall for wall, _ in other), 3),
        time_ratio=round(wall_ratio, 2),
        cpu_ratio=round(cpu_ratio, 2),
        loss=loss,
        loss_difference=abs(loss - their_loss),
        gradient_difference=difference,
        our_peak_mib=round(our_peak),
        trl_peak_mib=round(trl_peak),
        memory_ratio=round(trl_peak / our_peak, 2),
        step_memory_ratio=round(trl_growth / our_growth, 2),
    )


class _Ours:
    def __init__(self, model: Path, groups: Sequence[Answers], precision: Precision) -> None:
        self._model, _ = load_policy(model)
        self._groups, self._precision = groups, precision
        self._references = list(log_probs_of(self._model, groups, precision=precision))
        _disturb(self._model)

    def step(self) -> tuple[float, dict[str, torch.Tensor]]:
        self._model.zero_grad()
        figures = backward(self._model, self._groups, self._references, beta=BETA, precision=self._precision)
        return figures["loss"], _gradients(self._model)


class _TRLs:
    def __init__(self, model: Path, groups: Sequence[Answers], precision: Precision) -> None:
        from training.irpo.trl_pairs import plain_trainer

        self._model, tokenizer = load_policy(model)
        self._precision = precision
        with arithmetic(self._model, precision), tempfile.TemporaryDirectory() as scratch:
            self._trainer = plain_trainer(self._model, tokenizer, groups, beta=BETA, out=Path(scratch))
        (self._batch,) = self._trainer.get_train_dataloader()
        _disturb(self._model)

    def step(self) -> tuple[float, dict[str, torch.Tensor]]:
        self._model.zero_grad()
        with arithmetic(self._model, self._precision):
            loss = self._trainer.compute_loss(self._model, self._batch)
        loss.backward()
        return loss.item(), _gradients(self._model)


def _disturb(model: PreTrainedModel) -> None:
    """The same for both: where policy and reference are one, every loss is log 2."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight += NOISE * weight.std() * torch.randn_like(weight)


def _gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters()}


def _timed(side: _Ours | _TRLs) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    side.step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def _device_name() -> str:
    device = default_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _memory(kind: str, model: Path, groups: Sequence[Answers], precision: Precision) -> tuple[float, float]:
    """Peak of a child process, and what its step added, in MiB."""
    root = Path(__file__).parents[2]
    asked = json.dumps(
        {"kind": kind, "model": str(model), "precision": precision, "groups": [asdict(group) for group in groups]}
    )
    ran = subprocess.run(
        [sys.executable, "-m", "training.irpo.comparison"], input=asked, capture_output=True, text=True, cwd=root,
        env={**os.environ, "TQDM_DISABLE": "1"},
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(f"the child process failed: {(ran.stderr.strip().splitlines() or ['?'])[-1]}")
    peak, before = map(float, ran.stdout.split()[-2:])
    return peak, peak - before


def _memory_now() -> tuple[float, float]:
    """This process's peak so far and what it has now, in MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20, torch.cuda.memory_allocated() / 2**20
    return _status("VmHWM"), _status("VmRSS")


def _status(field: str) -> float:
    """From /proc, in MiB. Not ru_maxrss: that of a new program begins with the peak of the process it came from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError("memory can be measured on Linux only")


def _child() -> None:
    import training.irpo.trl_pairs  # noqa: F401, in both children: libraries are no difference

    asked = json.load(sys.stdin)
    side = (_Ours if asked["kind"] == "ours" else _TRLs)(
        Path(asked["model"]), [Answers(**group) for group in asked["groups"]], asked["precision"]
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()  # TRL's reference pass is not its step
    _, before = _memory_now()
    side.step()
    peak, _ = _memory_now()
    print(peak, before)


if __name__ == "__main__":
    _child()
