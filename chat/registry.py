"""Which Ad-LLM answers: the versions that may, the one that does, and the engine that speaks to it.

Knows nothing of questions or ads. The API key comes from the settings alone and is never stored.
"""

from contextlib import aclosing
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import IntegrityError, transaction

from chat.adllm.breaker import Breaker
from chat.adllm.engine import Engine, EngineError, Sampling
from chat.adllm.openai_engine import OpenAIEngine
from chat.models import ModelVersion

BUILTIN_NAME = "lab-base (built in)"
IRPO_NAME = "Lab Ad-LLM after IRPO"


def live() -> ModelVersion:
    """The version that answers now.

    While it is one that follows the settings, a changed AD_LLM_BASE_URL or AD_LLM_MODEL makes a new version and
    promotes it. A version somebody registered and promoted stays until somebody promotes another.
    """
    version = ModelVersion.objects.filter(is_live=True).first()
    if version and version.source == ModelVersion.Source.REGISTERED:
        return version
    wanted = settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL
    if version and (version.base_url, version.model) == wanted:
        return version
    try:
        version = register(base_url=wanted[0], model=wanted[1], source=ModelVersion.Source.SETTINGS)
        return promote(version)
    except IntegrityError:  # another process did the same at the same moment
        return ModelVersion.objects.get(is_live=True)


def register(
    *,
    base_url: str,
    model: str,
    name: str = "",
    source: str = ModelVersion.Source.REGISTERED,
) -> ModelVersion:
    """The version for this model at this address, made if there is none; its name is the model path's last part.

    The built-in model is the same wherever it is served: its row follows the address. Processes that start together all
    ask: SQLite lets one write at a time, elsewhere the unique name lets one win.
    """
    builtin_name = _builtin_name(model)
    is_builtin = builtin_name is not None
    known = ModelVersion.objects.filter(model=model)
    known = known.filter(is_builtin=True) if is_builtin else known.filter(base_url=base_url)
    version = known.first()
    if not version:
        try:
            with transaction.atomic():
                unused = _unused(name or builtin_name or _last_part(model))  # first: a row it saw is one the next finds
                version = known.first() or ModelVersion.objects.create(
                    name=unused,
                    base_url=base_url,
                    model=model,
                    source=source,
                    is_builtin=is_builtin,
                )
        except IntegrityError:  # another process took the name, most likely for this very version
            version = known.first()
            if not version:
                raise
    if version.base_url != base_url:
        version.base_url = base_url
        version.save(update_fields=["base_url"])
    return version


def promote(version: ModelVersion) -> ModelVersion:
    """Make this version the live one; the next question goes to it. Rolling back is promoting the one before."""
    with transaction.atomic():
        ModelVersion.objects.filter(is_live=True).exclude(pk=version.pk).update(is_live=False)
        ModelVersion.objects.filter(pk=version.pk).update(is_live=True)
    version.is_live = True
    return version


def engine_for(version: ModelVersion) -> Engine:
    """The engine that speaks to this version's endpoint."""
    return _engine(version.base_url, version.model, settings.AD_LLM_API_KEY)


@lru_cache(maxsize=8)
def _engine(base_url: str, model: str, api_key: str) -> Engine:
    """Kept: an engine remembers what its server does not understand, and the breaker that it is down."""
    return Breaker(OpenAIEngine(base_url=base_url, model=model, api_key=api_key))


@async_to_sync
async def answers(*, base_url: str, model: str) -> bool:
    """Does the server write with this model? Asks for one word; it may have to load the model first."""
    engine = OpenAIEngine(base_url=base_url, model=model, api_key=settings.AD_LLM_API_KEY)
    try:
        async with aclosing(
            engine.stream([{"role": "user", "content": "Hello"}], sampling=Sampling(max_tokens=1))
        ) as events:
            return [True async for _ in events] != []
    except EngineError:
        return False


def warm_up() -> None:
    """Load the client library ahead of the first question, which would wait for it: half a second of a processor."""
    import_module("openai.resources.chat.completions")


def register_shipped() -> ModelVersion | None:
    """The built-in model after IRPO, where its folder is there and the settings name a server of the built-in one.

    Where the folder is gone and its version was live, the model of the settings answers again.
    """
    folder = str(settings.LAB_IRPO_MODEL_DIR)
    if _builtin_name(settings.AD_LLM_MODEL) and _is_there(folder):
        return register(base_url=settings.AD_LLM_BASE_URL, model=folder)
    if ModelVersion.objects.filter(model=folder, is_live=True).update(is_live=False):
        live()
    return None


def choices() -> list[ModelVersion]:
    """The versions that may be asked, the live one first: without built-in ones whose folder is gone."""
    found = ModelVersion.objects.order_by("-is_live", "-created_at")
    return [version for version in found if not version.is_builtin or _is_there(version.model)]


def _builtin_name(model: str) -> str | None:
    names = {settings.LAB_MODEL_DIR.resolve(): BUILTIN_NAME, settings.LAB_IRPO_MODEL_DIR.resolve(): IRPO_NAME}
    return names.get(Path(model).resolve())


def _is_there(model: str) -> bool:
    return (Path(model) / "config.json").is_file()


def _last_part(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2][:70] or "unnamed"


def _unused(name: str) -> str:
    """The name itself, or with the next free number: two endpoints may serve models of one name."""
    taken = set(ModelVersion.objects.filter(name__startswith=name).values_list("name", flat=True))
    numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in (name, *numbered) if candidate not in taken)
