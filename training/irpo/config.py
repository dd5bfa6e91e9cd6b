"""The numbers of IRPO: the paper's, those for the lab Ad-LLM on two cores, and tiny ones for tests. Knows no code."""

from dataclasses import dataclass, field
from typing import Literal

from training.simulation.presets import PAPER_MODEL
from training.simulation.sampling import SamplingSettings

Precision = Literal["float32", "bf16"]
Algorithm = Literal["dpo", "grpo"]


@dataclass(frozen=True)
class LoRA:
    """Train low-rank adapters of all linear layers instead of every weight; merged when the epoch ends."""

    rank: int = 32
    alpha: int = 64


@dataclass(frozen=True)
class DPOConfig:
    """Eq. 6 and how it is minimised. Defaults from App. B.2.3, which names neither optimizer nor clipping."""

    beta: float = 0.1
    learning_rate: float = 1e-6
    warmup_ratio: float = 0.1  # of the steps; then a cosine down to 0
    batch_queries: int = 64  # preference groups in a step
    precision: Precision = "bf16"  # of the arithmetic; the weights and the optimizer stay in float32
    lora: LoRA | None = None  # None: every weight is trained, as in the paper
    embeddings: bool = True  # both tables too; the lab Ad-LLM's are codes that its pre-training left alone
    frozen: int = 0  # layers that are left alone, from below; in the lab Ad-LLM's lower half, topics are read
    context: int = 16384  # prompt and answer, in tokens (App. B.2.1)
    max_grad_norm: float = 1.0
    checkpoint_every: int = 10  # steps

    def __post_init__(self) -> None:
        _above_zero(self, "beta", "learning_rate", "batch_queries", "context", "max_grad_norm", "checkpoint_every")
        _warms_up(self.warmup_ratio)
        if self.frozen < 0:
            raise ValueError(f"frozen must not be negative, nor {self.frozen}")


@dataclass(frozen=True)
class GRPOConfig:
    """Online RL by TRL's GRPOTrainer. The paper leaves it to future work: the numbers are TRL's, or those of DPO."""

    beta: float = 0.04  # of the KL to the policy at the epoch's start, a token (Eq. 2); at 0 no reference is kept
    learning_rate: float = 1e-6
    warmup_ratio: float = 0.1
    batch_queries: int = 64  # queries in a step, each with M answers
    precision: Precision = "bf16"
    lora: LoRA | None = None
    context: int = 16384
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        _above_zero(self, "learning_rate", "batch_queries", "context", "max_grad_norm")
        _warms_up(self.warmup_ratio)
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, nor {self.beta}")


def _above_zero(config: object, *names: str) -> None:
    wrong = [name for name in names if not getattr(config, name) > 0]
    if wrong:
        raise ValueError(f"{wrong[0]} must be above 0, not {getattr(config, wrong[0])}")


def _warms_up(ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise ValueError(f"warmup_ratio must be in [0, 1), not {ratio}")


@dataclass(frozen=True)
class IRPOConfig:
    """One run of Algorithm 1. `num_profiles` and `num_queries` make the world where none is given.

    An empty `model` is the lab Ad-LLM, or with the scripted engine a tiny one made on the fly.
    """

    name: str = "paper"
    epochs: int = 3  # T; the paper shows three (Figure 4a)
    online_queries: int = 12_000  # asked in phase 1 of every epoch
    online_samples: int = 10  # answers to each (section 5.2.3)
    online_epochs: int = 1  # whose clicks the reward model learns from, this one's and those before
    offline_queries: int = 12_000  # asked in phase 2
    auctions: int = 1  # of each, under bids of its own; answers are compared under the bids of all of them
    samples: int = 5  # M (section 5.2.3), in each auction
    outside_option: bool = False  # compare with an answer less its ads, too: is any ad worth what it costs?
    pair_threshold: float = 10.0  # delta_th (App. B.2.3)
    penalty_weight: float = 1.0  # lambda of Eq. 8 (App. B.2.3)
    test_queries: int = 3_000
    kl_queries: int = 200  # of those, for the KL estimates
    sampling: SamplingSettings = field(default_factory=SamplingSettings)  # App. B.2.1
    exploring: SamplingSettings | None = None  # of the M answers that DPO learns from; None: as in serving
    guided: bool = False  # answers can hold no broken marker, in training and in every figure
    algorithm: Algorithm = "dpo"
    dpo: DPOConfig = field(default_factory=DPOConfig)
    grpo: GRPOConfig = field(default_factory=GRPOConfig)
    least_pair_share: float = 0.01  # of the auctions that give a preference group; with fewer the run stops
    engine: str = "vllm"
    model: str = PAPER_MODEL
    num_profiles: int = 3000
    num_queries: int = 5

    def __post_init__(self) -> None:
        online, offline = ("online_queries", "online_samples", "online_epochs"), ("offline_queries", "auctions")
        for name in ("epochs", *online, *offline, "samples", "test_queries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.compared < 2:
            raise ValueError(f"samples must be at least 2, a winner and a loser, not {self.samples}")
        if self.pair_threshold < 0 or self.penalty_weight < 0:
            raise ValueError("pair_threshold and penalty_weight must not be negative")

    @property
    def compared(self) -> int:
        """Answers to one query that are set against each other."""
        return self.auctions * self.samples

    @property
    def learning(self) -> DPOConfig | GRPOConfig:
        """The numbers of the algorithm that is used."""
        return self.dpo if self.algorithm == "dpo" else self.grpo

    def stages(self, *, learns_reward: bool) -> list[tuple[int, str]]:
        """(epoch, stage) of a run that goes to its end, in the order of training/irpo/loop.py."""
        first = ("online", "pctr") if learns_reward else ()
        update = ("offline", "preferences", "dpo") if self.algorithm == "dpo" else ("offline", "grpo")
        each = (*first, *update, "test", "metrics")
        return [(0, "test"), (0, "metrics"), *((t, name) for t in range(1, self.epochs + 1) for name in each)]


TINY = IRPOConfig(
    name="tiny",
    epochs=2,
    online_queries=60,
    online_samples=4,
    online_epochs=2,
    offline_queries=5,
    auctions=2,
    samples=2,
    outside_option=True,
    test_queries=4,
    kl_queries=4,
    sampling=SamplingSettings(max_tokens=48),
    dpo=DPOConfig(learning_rate=1e-3, batch_queries=2, precision="float32", checkpoint_every=1),
    grpo=GRPOConfig(learning_rate=1e-3, batch_queries=2, precision="float32"),
    engine="scripted",
    model="",
    num_profiles=80,
    num_queries=1,
)
LAB = IRPOConfig(
    name="lab",
    online_queries=200,
    online_samples=5,
    online_epochs=3,
    offline_queries=300,
    auctions=2,
    samples=3,
    outside_option=True,
    # An ad that nobody wants costs 12.5: at the paper's 10 no ad seldom beats it, and declining is unlearned.
    pair_threshold=5.0,
    penalty_weight=1.25,
    test_queries=300,
    kl_queries=40,
    sampling=SamplingSettings(max_tokens=250),
    # As in serving, the five answers to a query are alike after one epoch, and two thirds of the queries teach nothing.
    exploring=SamplingSettings(temperature=1.0, top_p=0.95, top_k=50, max_tokens=250),
    # The paper's rate is for 4 billion weights; here 3e-4 cost topics. At its beta of 0.1 openings of
    # answers, learned in five steps, drift on by ten nats while little is learned about ads (LOG.md, 2026-11-26).
    dpo=DPOConfig(beta=1.0, learning_rate=2e-4, batch_queries=8, precision="float32", embeddings=False, frozen=3),
    grpo=GRPOConfig(learning_rate=2e-4, batch_queries=16, precision="float32"),
    engine="transformers",
    model="",
)
PAPER = IRPOConfig()
PRESETS = {preset.name: preset for preset in (TINY, LAB, PAPER)}
