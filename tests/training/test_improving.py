"""What is asked of IRPO, and the stages that follow from it. No database."""

import pytest

from training.improving import CannotImprove, Improvement, improve

pytest.importorskip("torch")
pytest.importorskip("trl")
TINY = {"preset": "tiny", "seed": 0, "reward": "oracle", "epochs": 1}


@pytest.mark.usefixtures("one_thread_here")
@pytest.mark.parametrize("changes", [{}, {"reward": "pctr"}, {"algorithm": "grpo"}, {"epochs": 2}])
def test_the_planned_stages_are_those_of_the_loop(tmp_path, changes):
    asked = Improvement(**TINY | changes)
    silent = {"out": tmp_path / "run", "resume": False, "progress": lambda *_: None}
    assert [(stage.epoch, stage.name) for stage in improve(asked, **silent)] == asked.stages


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"preset": "huge"}, "There is no preset huge"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"feedback_share": 0.5}, "go together"),
    ],
)
def test_nonsense_is_told_before_anything_is_loaded(changes, complaint):
    with pytest.raises(CannotImprove, match=complaint):
        Improvement(**TINY | changes)
