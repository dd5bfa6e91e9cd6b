"""What each kind of run consists of, and what each kind of stage does: one call into the pure loop."""

from collections.abc import Callable
from pathlib import Path

from training.dataset.artifacts import RESULT, RunRefused, read_json
from training.dataset.jsonl import DataError
from training.evaluating import Evaluation, evaluate
from training.improving import CannotImprove, Improvement, improve, ship_policy
from training.models import Stage, TrainingRun
from training.simulating import CannotSimulate, Simulation, prepare_world, run_simulation
from training.simulation.sampling import SamplingError
from training.simulation.user_llm import UserLLMError

Progress = Callable[[str, int, int, int], None]  # step, rows done, rows in all, tokens written
# What is told in one sentence. What was done so far stays, and the stage can be resumed.
EXPECTED = (CannotImprove, CannotSimulate, DataError, RunRefused, SamplingError, UserLLMError, OSError)
ADS, QUERIES = "given-ads.jsonl", "given-queries.jsonl"  # in the run's folder, where somebody brought a world
SHIPPED = "shipped"  # in the run's folder: the policy that IRPO keeps, as the site can serve it


def plan(run: TrainingRun) -> list[tuple[int, str]]:
    """The run's stages in order: (epoch, kind)."""
    if run.kind == TrainingRun.Kind.SIMULATION:
        return [(0, Stage.Kind.WORLD), (0, Stage.Kind.SIMULATE)]
    if run.kind == TrainingRun.Kind.EVALUATION:
        return [(0, Stage.Kind.EVALUATE)]
    planned = improvement_of(run).stages
    return [*planned, (planned[-1][0], Stage.Kind.SHIP)]


def carry_out(stage: Stage, *, progress: Progress) -> None:
    """Do the stage's work in the run's folder, from where it stopped. Raises EXPECTED, and what progress raises."""
    _WORK.get(stage.kind, _improve)(stage, progress)


def _world(stage: Stage, progress: Progress) -> None:
    progress("world", 0, 1, 0)
    prepare_world(simulation_of(stage.run), out=stage.run.folder)
    progress("world", 1, 1, 0)


def _simulate(stage: Stage, progress: Progress) -> None:
    asked, folder = simulation_of(stage.run), stage.run.folder
    progress("loading", 0, 1, 0)
    world = prepare_world(asked, out=folder)
    run_simulation(asked, world=world, out=folder, resume=True, progress=progress)


def _improve(stage: Stage, progress: Progress) -> None:
    """One stage of Algorithm 1; nothing where the run has stopped early."""
    asked, folder = improvement_of(stage.run), stage.run.folder
    if (folder / RESULT).exists():
        return
    progress("loading", 0, 1, 0)
    try:
        # The first stage also makes the world; behind the last one the loop writes its result.
        for done in improve(asked, out=folder, resume=True, progress=_without_epoch(progress)):
            if (done.epoch, done.name) == (stage.epoch, stage.kind) != asked.stages[-1]:
                return
    except _refusals() as error:
        raise CannotImprove(f"{error}{_hint(error)}") from error


def _refusals() -> tuple[type[Exception], ...]:
    """What else of the loop is told in one sentence; from modules that are too heavy for the web process."""
    from training.dataset.encoder import EncoderError
    from training.reward_model.fit import BiasedPCTR, FitError
    from training.reward_model.saving import ModelRefused

    return EncoderError, BiasedPCTR, FitError, ModelRefused


def _hint(error: Exception) -> str:
    from training.reward_model.fit import BiasedPCTR

    return ". Another run may be told to go on with it." if isinstance(error, BiasedPCTR) else ""


def _ship(stage: Stage, progress: Progress) -> None:
    """The policy to keep, ready to be served; nothing where the run keeps the model that it began with."""
    progress("writing the policy", 0, 1, 0)
    folder = stage.run.folder
    if read_json(folder / RESULT)["epochs"]:
        ship_policy(folder, out=folder / SHIPPED)
    progress("writing the policy", 1, 1, 0)


def _evaluate(stage: Stage, progress: Progress) -> None:
    progress("loading", 0, 1, 0)
    asked = stage.run.asked
    policies = dict(asked["policies"])  # pairs: a database may forget the order of a JSON object's keys
    evaluate(Evaluation(**asked | {"policies": policies}), out=stage.run.folder, resume=True, progress=progress)


_WORK = {  # of every kind of stage that is not one of the loop's
    Stage.Kind.WORLD: _world,
    Stage.Kind.SIMULATE: _simulate,
    Stage.Kind.SHIP: _ship,
    Stage.Kind.EVALUATE: _evaluate,
}


def simulation_of(run: TrainingRun) -> Simulation:
    """What a simulation asks for. Given files lie in its folder under ADS and QUERIES."""
    return Simulation(**run.asked, **_given(run))


def improvement_of(run: TrainingRun) -> Improvement:
    """What a run of IRPO asks for, with the files that it was given."""
    return Improvement(**run.asked, **_given(run))


def _given(run: TrainingRun) -> dict[str, Path | None]:
    files = {"ads": run.folder / ADS, "queries_file": run.folder / QUERIES}
    return {name: path if path.exists() else None for name, path in files.items()}


def _without_epoch(progress: Progress) -> Callable[[str, int, int], None]:
    """The loop says "epoch 1 of 3: offline answers"; the stage knows its epoch."""
    return lambda what, done, total: progress(what.partition(": ")[2] or what, done, total, 0)
