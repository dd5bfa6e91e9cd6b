"""A worker without a broker; a model of a few thousand weights that writes nonsense: enough to prove sampling exact."""

import pytest

from training import tasks


@pytest.fixture
def sent(monkeypatch):
    """The ids of the stages that were handed to the broker."""
    ids = []
    monkeypatch.setattr(tasks.run_stage, "delay", ids.append)
    return ids


@pytest.fixture
def work(sent, django_capture_on_commit_callbacks):
    """A worker: takes what was sent, until nothing is left."""

    def work() -> None:
        while sent:
            with django_capture_on_commit_callbacks(execute=True):
                tasks.run_stage(sent.pop(0))

    return work


@pytest.fixture
def one_thread_here(settings, tmp_path):
    """Stages are carried out in this process, by one thread; runs lie in a folder that vanishes."""
    torch = pytest.importorskip("torch")
    settings.VAR_DIR = tmp_path
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
