"""A tiny policy and a few groups of answers to prompts about mugs."""

import pytest

torch = pytest.importorskip("torch")

from tests.training.irpo.shop import TEXTS, asked, make_groups  # noqa: E402
from training.irpo.dpo import load_policy  # noqa: E402
from training.irpo.tiny import make_tiny_policy  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory):
    """The folder of a random model whose tokenizer knows the prompt."""
    folder = tmp_path_factory.mktemp("policy") / "policy"
    make_tiny_policy(folder, texts=[asked(0)[0]["content"], *TEXTS])
    return folder


@pytest.fixture
def policy(tiny_policy):
    """A fresh model of it and its tokenizer."""
    return load_policy(tiny_policy, device="cpu")


@pytest.fixture
def groups(policy):
    """Three queries with three losers each."""
    return make_groups(policy[1], losers=(3, 3, 3))
