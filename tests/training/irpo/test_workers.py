import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from django.conf import settings as site  # noqa: E402

from tests.training.irpo.shop import make_groups  # noqa: E402
from training.irpo import dpo  # noqa: E402
from training.irpo.config import DPOConfig  # noqa: E402
from training.irpo.workers import Workers  # noqa: E402

CONFIG = DPOConfig(learning_rate=1e-2, batch_queries=3, precision="float32")
LOSERS = (3, 1, 2, 4, 1)
TRAIN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.irpo.test_workers import train
train(sys.argv[1], Path(sys.argv[2]))
"""


def train(policy, folder):
    return dpo.train(
        policy=policy, tokenized=lambda tokenizer: make_groups(tokenizer, losers=LOSERS), config=CONFIG, seed=1,
        work=folder / "dpo", out=folder / "policy",
    )  # fmt: skip


def test_every_query_of_a_batch_counts_once_over_all_workers(monkeypatch):
    total, most = dict.fromkeys(range(5), 0.0), set()
    for rank in range(3):
        monkeypatch.setattr(Workers, "__init__", lambda self, rank=rank: vars(self).update(rank=rank, count=3))
        shared = Workers().share(list(range(5)))
        most.add(len(shared))
        for at, weight in shared:
            total[at] += weight / 3
    assert total == dict.fromkeys(range(5), 1.0)
    assert most == {2}


@pytest.mark.slow
def test_two_sharded_processes_train_what_one_trains(tiny_policy, tmp_path):
    pytest.importorskip("torch.distributed.fsdp")
    alone = train(tiny_policy, tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    ran = subprocess.run(
        [*command, str(script), str(tiny_policy), str(tmp_path / "two")], cwd=site.BASE_DIR, capture_output=True,
        text=True, env=environment(), timeout=1200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    rows = list(dpo.jsonl.read(dpo.Step, tmp_path / "two" / "dpo" / "steps.jsonl"))
    for one, two in zip(alone, rows, strict=True):
        for name, value in vars(one).items():
            assert getattr(two, name) == pytest.approx(value, rel=1e-3, abs=1e-4), name
    before, one, two = (
        dpo.load_policy(path)[0].state_dict()
        for path in (tiny_policy, tmp_path / "one" / "policy", tmp_path / "two" / "policy")
    )
    for name, weight in one.items():
        assert (two[name] - weight).norm() <= 0.02 * (weight - before[name]).norm(), name


def environment():
    kept = {**os.environ, "PYTHONPATH": str(site.BASE_DIR), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
