"""What each kind of run consists of, and what each kind of stage does: one call into the pure loop."""

from collections.abc import Callable
from pathlib import Path

from training.dataset.artifacts import RunRefused
from training.dataset.jsonl import DataError
from training.models import Stage, TrainingRun
from training.simulating import CannotSimulate, Simulation, prepare_world, run_simulation
from training.simulation.sampling import SamplingError
from training.simulation.user_llm import UserLLMError

Progress = Callable[[str, int, int, int], None]  # step, rows done, rows in all, tokens written
# What is told in one sentence. What was done so far stays, and the stage can be resumed.
EXPECTED = (CannotSimulate, DataError, RunRefused, SamplingError, UserLLMError, OSError)
ADS, QUERIES = "given-ads.jsonl", "given-queries.jsonl"  # in the run's folder, where somebody brought a world


def plan(run: TrainingRun) -> list[tuple[int, str]]:
    """The run's stages in order: (epoch, kind)."""
    return {TrainingRun.Kind.SIMULATION: [(0, Stage.Kind.WORLD), (0, Stage.Kind.SIMULATE)]}[run.kind]


def carry_out(stage: Stage, *, progress: Progress) -> None:
    """Do the stage's work in the run's folder, from where it stopped. Raises EXPECTED, and what progress raises."""
    {Stage.Kind.WORLD: _world, Stage.Kind.SIMULATE: _simulate}[stage.kind](stage.run, progress)


def _world(run: TrainingRun, progress: Progress) -> None:
    progress("world", 0, 1, 0)
    prepare_world(simulation_of(run), out=run.folder)
    progress("world", 1, 1, 0)


def _simulate(run: TrainingRun, progress: Progress) -> None:
    asked = simulation_of(run)
    progress("loading", 0, 1, 0)
    world = prepare_world(asked, out=run.folder)
    run_simulation(asked, world=world, out=run.folder, resume=True, progress=progress)


def simulation_of(run: TrainingRun) -> Simulation:
    """What the run asks for. Given files lie in its folder under ADS and QUERIES."""

    def given(name: str) -> Path | None:
        return run.folder / name if (run.folder / name).exists() else None

    return Simulation(**run.asked, ads=given(ADS), queries_file=given(QUERIES))
