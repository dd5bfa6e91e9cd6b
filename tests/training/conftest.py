"""A model of a few thousand weights that writes nonsense: enough to prove that sampling is exact."""

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a model built by the tiny recipe."""
    torch = pytest.importorskip("torch")
    from training.lab import presets, recipe

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    recipe.build(preset=presets.PRESETS["tiny"], seed=1, out=folder / "model", work=folder / "work")
    torch.set_num_threads(before)
    return folder / "model"
