"""Does the lab Ad-LLM copy, keep to the topic and answer in time? Measured on questions, brands and ids it never saw.

It is judged as the site serves it: guided, so that no marker can break. What it does when left free stands beside.
A marker is exact when chat's own parser shows its ad; every format error it counts is a marker that is not. An answer
is on topic when at least two of the category's tips stand in it word for word and none of another category: the model
knows only these tips, so the corpus itself can judge. Knows nothing of Django.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from urllib.request import urlopen

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3ForCausalLM
from transformers.generation.streamers import BaseStreamer

from chat.adllm import markup
from chat.adllm.prompts import ad_messages
from training.lab.answers import is_on_topic
from training.lab.catalogue import LabAd, make_candidates
from training.lab.questions import Question, held_out_questions, visitor
from training.simulation import elsewhere
from training.simulation.sampling import Sampler, SampleRequest, SamplingSettings

CANDIDATES = 100
MAX_TOKENS = 400
TARGETS = {"exact_markers": 0.95, "on_topic_answers": 0.95, "first_token_s": 1.5, "answer_s": 8.0}


@dataclass(frozen=True)
class Case:
    """A held-out question, the candidates it is asked over, and its prompt."""

    question: Question
    ads: tuple[LabAd, ...]
    messages: list[dict[str, str]]


def make_cases(*, count: int, seed: int = 0, candidates: int = CANDIDATES) -> list[Case]:
    """Fresh candidates for each question, two or more of them in its category, as in the paper's 100 ads of 50
    categories.
    """
    rng = random.Random(f"check/{seed}")
    return list(_asked(rng, held_out_questions(rng, count=count), candidates))


def make_other_cases(*, count: int, seed: int = 0, candidates: int = CANDIDATES) -> list[Case]:
    """The same for questions about none of the 50 categories, as the simulation's test users ask them: in forms and
    about subjects that training holds out, word for word.
    """
    rng = random.Random(f"check/other/{seed}")
    return list(
        _asked(rng, [Question(elsewhere.question(rng, held_out=True), None, None) for _ in range(count)], candidates)
    )


def _asked(rng: random.Random, questions: Sequence[Question], candidates: int) -> Iterator[Case]:
    for question in questions:
        ads = make_candidates(
            rng, count=candidates, wanted=(question.category,) * 2 if question.category else (), held_out=True
        )
        candidates_shown = [ad.candidate for ad in ads]
        messages = ad_messages(query=question.text, profile=visitor(rng).profile, candidates=candidates_shown)
        yield Case(question, tuple(ads), messages)


def declined(*, cases: Sequence[Case], texts: Sequence[str]) -> float:
    """The share of questions about no category that got an honest answer saying so, without an ad."""
    honest = [
        is_on_topic(text, category=None) and not any(ad.candidate.title in text for ad in case.ads)
        for case, text in zip(cases, texts, strict=True)
    ]
    return round(mean(honest), 4)


def load_model(path: Path, *, guided: bool = False) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """The model for inference, and its tokenizer. Guided, its `generate` is the folder's own, as the site serves it."""
    return Qwen3ForCausalLM.from_pretrained(path, trust_remote_code=guided).eval(), AutoTokenizer.from_pretrained(path)


def write_answers(*, sampler: Sampler, cases: Sequence[Case], guided: bool, seed: int = 0) -> Iterator[str]:
    """One sampled answer for each case, in order (App. B.2.1). Guided, as the site serves the model, it can write no
    marker but those of its candidates (docs/adr/0005-guided-markers.md).
    """
    requests = [
        SampleRequest(str(number), case.messages, tuple(ad.marker for ad in case.ads) if guided else ())
        for number, case in enumerate(cases)
    ]
    settings = SamplingSettings(max_tokens=MAX_TOKENS, seed=f"check/{seed}")
    for answers in sampler.sample(requests, n=1, settings=settings):
        yield answers[0].text


def judge(*, cases: Sequence[Case], texts: Sequence[str]) -> dict[str, object]:
    """What the answers are worth; see the module's docstring for what counts."""
    ads_shown: list[int] = []
    fitting = errors = on_topic = 0
    kinds: Counter[str] = Counter()
    for case, text in zip(cases, texts, strict=True):
        parsed = markup.parse(text, [ad.candidate for ad in case.ads], max_ads=len(case.ads))
        categories = {ad.candidate.ad_id: ad.category for ad in case.ads}
        ads_shown.append(parsed.n_ads)
        fitting += sum(categories[ad_id] == case.question.category for ad_id in parsed.ads)
        kinds.update({kind.value: count for kind, count in parsed.errors.items()})
        errors += sum(parsed.errors.values())
        on_topic += is_on_topic(text, category=case.question.category)
    shown = sum(ads_shown)
    return {
        "questions": len(cases),
        "exact_markers": round(shown / max(1, shown + errors), 4),
        "markers": shown + errors,
        "format_errors": dict(kinds),
        "on_topic_answers": round(on_topic / max(1, len(cases)), 4),
        "ads_per_answer": round(mean(ads_shown), 2),
        "answers_without_ads": round(sum(n == 0 for n in ads_shown) / len(ads_shown), 3),
        "ads_on_topic": round(fitting / max(1, shown), 3),
    }


class _FirstToken(BaseStreamer):
    """Notes when the first token of an answer comes; the prompt is put first."""

    def __init__(self) -> None:
        self.puts = 0
        self.at = 0.0

    def put(self, value: torch.Tensor) -> None:
        self.puts += 1
        if self.puts == 2:
            self.at = time.monotonic()

    def end(self) -> None:
        pass


@torch.no_grad()
def time_answers(*, model: Qwen3ForCausalLM, tok: PreTrainedTokenizerFast, cases: Sequence[Case]) -> dict[str, float]:
    """Seconds to the first token and to the whole answer, one question at a time; the first one warms up."""
    firsts, totals = [], []
    for case in cases:
        prompt = tok.apply_chat_template(
            case.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        watch, began = _FirstToken(), time.monotonic()
        model.generate(input_ids=prompt["input_ids"], max_new_tokens=MAX_TOKENS, streamer=watch, tokenizer=tok)
        totals.append(time.monotonic() - began)
        firsts.append(watch.at - began)
    return _seconds(firsts[1:] or firsts, totals[1:] or totals)


def _seconds(firsts: list[float], totals: list[float]) -> dict[str, float]:
    return {
        "first_token_s": round(median(firsts), 3),
        "answer_s": round(median(totals), 3),
        "slowest_answer_s": round(max(totals), 3),
    }


@contextmanager
def served(path: Path, *, port: int) -> Iterator[str]:
    """`transformers serve` on the folder, as the site uses it; yields the base URL and stops the server afterwards."""
    program = str(Path(sys.executable).with_name("transformers"))
    command = (
        sys.executable,
        program,
        "serve",
        str(path),
        "--trust-remote-code",  # the folder's own `generate`
        "--device",
        "cpu",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    )
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(240):
            if process.poll() is not None:
                raise RuntimeError(f"transformers serve ended with status {process.returncode}")
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:  # not there yet, or not ready: both are
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=20)


def ask_server(*, base_url: str, model: Path, cases: Sequence[Case]) -> tuple[list[str], dict[str, float]]:
    """The answers of a server, streamed one after another, and their seconds; the first, warming one is not timed."""
    from openai import OpenAI

    client = OpenAI(base_url=base_url, api_key="none")
    texts, firsts, totals = [], [], []
    for case in cases:
        began, first, parts = time.monotonic(), 0.0, []
        for chunk in client.chat.completions.create(
            model=str(model), messages=case.messages, stream=True, temperature=0.7, top_p=0.8, max_tokens=MAX_TOKENS
        ):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                first = first or time.monotonic() - began
                parts.append(text)
        texts.append("".join(parts))
        firsts.append(first)
        totals.append(time.monotonic() - began)
    return texts, _seconds(firsts[1:] or firsts, totals[1:] or totals)


def missed(figures: dict[str, object]) -> list[str]:
    """The targets that the figures miss, in words."""
    found = []
    for name, target in TARGETS.items():
        value = figures.get(name)
        if isinstance(value, float) and (value > target if name.endswith("_s") else value < target):
            found.append(f"{name} is {value}, the target is {target}")
    return found
