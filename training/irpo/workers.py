"""Several processes that train one policy: FSDP2 shards weights, gradients and moments, and queries are shared out.

`accelerate launch` or `torchrun` starts them and says so in the environment; otherwise there is one, which is the
common case. Knows no preferences.
"""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed
from transformers import PreTrainedModel


def several() -> bool:
    """Did a launcher start more processes than this?"""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main() -> bool:
    """Is this the process that writes the files?"""
    return int(os.environ.get("RANK", "0")) == 0


class Workers:
    """`rank` of `count` processes; `main` writes the files."""

    def __init__(self) -> None:
        self.count, self.rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.count > 1 and not distributed.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def main(self) -> bool:
        return self.rank == 0

    def shard(self, model: PreTrainedModel) -> PreTrainedModel:
        """Every decoder layer a shard of its own; the rest, embeddings that may be tied among it, is another."""
        if self.count == 1:
            return model
        from torch.distributed.fsdp import fully_shard

        whole = set(model._no_split_modules or ())
        for module in model.modules():
            if type(module).__name__ in whole:
                fully_shard(module)
        fully_shard(model)
        return model

    def share(self, batch: Sequence[int]) -> list[tuple[int, float]]:
        """What this process takes of a batch, each with its weight; equally many for all, or they would wait for ever.

        The weights of all processes' gradients, of which FSDP takes the mean, come to 1 for every query of the batch.
        """
        mine = [(at, float(self.count)) for at in batch[self.rank :: self.count]]
        most = -(-len(batch) // self.count)
        return mine + [(batch[0], 0.0)] * (most - len(mine))

    def summed(self, figures: dict[str, float], device: torch.device) -> dict[str, float]:
        """The mean of all processes' figures, which carry the weights of `share`."""
        if self.count == 1:
            return figures
        values = torch.tensor(list(figures.values()), dtype=torch.float32, device=device)
        distributed.all_reduce(values)
        return dict(zip(figures, (values / self.count).tolist(), strict=True))

    def gathered(self, rows: dict[int, Any]) -> dict[int, Any]:
        """The rows of all processes, in all of them."""
        if self.count == 1:
            return rows
        found: list[dict[int, Any]] = [{} for _ in range(self.count)]
        distributed.all_gather_object(found, rows)
        return {number: row for one in found for number, row in one.items()}

    def whole(self, model: PreTrainedModel) -> dict[str, torch.Tensor] | None:
        """All weights on the CPU of the main process; None where nothing is sharded."""
        if self.count == 1:
            return None
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    def wait(self) -> None:
        if self.count > 1:
            distributed.barrier()


def full(value: torch.Tensor) -> float:
    """A number, be it sharded or not."""
    return float(value.full_tensor() if hasattr(value, "full_tensor") else value)


def local(weight: torch.Tensor) -> torch.Tensor:
    """This process's part of a weight."""
    return weight.to_local() if hasattr(weight, "to_local") else weight
