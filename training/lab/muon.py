"""Muon for the matrices of a small network, in float32.

torch.optim.Muon orthogonalises in bfloat16, which a CPU without bfloat16 units does several times slower than float32.
Source of the method: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
"""

from collections import defaultdict
from collections.abc import Iterable

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic Newton-Schulz step
ROUNDS = 5


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """About the nearest matrices (.., R, C) with orthonormal rows or columns, by five Newton-Schulz rounds."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    wide = matrices.mT if tall else matrices
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.mT if tall else wide


class Muon(torch.optim.Optimizer):
    """Momentum (Nesterov), orthogonalised, with decoupled weight decay. For two-dimensional parameters only."""

    def __init__(
        self, params: Iterable[torch.nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            alike: dict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for (rows, columns), parameters in alike.items():
                for parameter in parameters:
                    average = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                    average.lerp_(parameter.grad, 1 - group["momentum"])
                gradients = torch.stack([parameter.grad for parameter in parameters])
                averages = torch.stack([self.state[parameter]["momentum"] for parameter in parameters])
                updates = orthogonalised(gradients.lerp(averages, group["momentum"]))  # together: many are small
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
