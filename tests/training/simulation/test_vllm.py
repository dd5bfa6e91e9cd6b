"""Over real vLLM: what the fakes promise, it keeps. Runs where `make vllm-cpu` has been run."""

import json
import random

import pytest

from chat.adllm import markup
from chat.adllm.prompts import ad_messages
from tests.training.lab.models import WEIGHTS
from training.dataset.records import Ad, Auction, Exposure, Profile, Query, Response
from training.lab.catalogue import make_candidates
from training.simulation.judge import UserLLMJudge
from training.simulation.openai_sampler import OpenAISampler
from training.simulation.sampling import SampleRequest, SamplingSettings
from training.simulation.user_llm import OpenAIUserLLM
from training.simulation.vllm_server import PYTHON, serve_vllm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON.exists(), reason="no vLLM: make vllm-cpu"),
]
ADS = {"Ad-1000": Ad(id="Ad-1000", title="Acme Mug"), "Ad-2000": Ad(id="Ad-2000", title="Zenith Kettle")}
ALICE = Profile(id="u1", info="A nurse.", interests=("tea",), split="test")
ASKED = Query("u1-q0", "u1", "How do I brew tea?", "test")


@pytest.fixture(scope="module")
def base_url(tmp_path_factory):
    if not (WEIGHTS / "model.safetensors").exists():
        pytest.skip("no lab model: manage.py build_lab_model")
    with serve_vllm(WEIGHTS, log=tmp_path_factory.mktemp("vllm") / "log") as url:
        yield url


def test_four_answers_come_from_one_request(base_url):
    sampler = OpenAISampler(base_url=base_url, model="lab")
    requests = [
        SampleRequest(f"q{n}", [{"role": "user", "content": f"How do I brew tea {n}? " * 90}]) for n in range(6)
    ]
    settings = SamplingSettings(max_tokens=40, seed=1)
    answers = list(sampler.sample(requests, n=4, settings=settings))
    assert [len(found) for found in answers] == [4] * 6
    assert all(0 < sum(answer.tokens for answer in found) <= 4 * 40 for found in answers)  # counted together
    assert len({answer.text for answer in answers[0]}) > 1
    assert sampler._refused == frozenset()  # n, top_k and seed are all taken


def test_guided_answers_break_no_marker(base_url):
    ads = make_candidates(random.Random(1), count=100, held_out=True)
    candidates = [ad.candidate for ad in ads]
    messages = ad_messages(query="Please list some ads for coffee lovers.", profile="", candidates=candidates)
    settings = SamplingSettings(temperature=1.3, top_p=1.0, top_k=0, max_tokens=120, seed=1)  # careless
    counted = []
    for markers in ((), tuple(ad.marker for ad in ads)):
        sampler = OpenAISampler(base_url=base_url, model="lab")
        requests = [SampleRequest(f"q{n}", messages, markers) for n in range(6)]
        answers = [answer for found in sampler.sample(requests, n=4, settings=settings) for answer in found]
        assert sampler._refused == frozenset()
        parsed = [markup.parse(answer.text, candidates, max_ads=100) for answer in answers if answer.finished]
        counted.append((sum(p.n_ads for p in parsed), sum(sum(p.errors.values()) for p in parsed)))
    assert counted[0][1] > 0  # left free, it does break some
    assert counted[1][0] > 0
    assert counted[1][1] == 0


def test_a_schema_without_free_text_leaves_no_choice(base_url):
    # The lab model knows nothing of judging: JSON can only come because nothing else may.
    verdict = {"ad_id": {"enum": list(ADS)}, "clicked": {"type": "boolean"}}
    item = {"type": "object", "properties": verdict, "required": list(verdict), "additionalProperties": False}
    llm = OpenAIUserLLM(base_url=base_url, model="lab")
    text = llm.ask(
        prompt="Judge.", schema={"type": "array", "items": item, "minItems": 2, "maxItems": 2}, temperature=0.3
    )
    assert [row.keys() for row in json.loads(text)] == [verdict.keys()] * 2
    assert llm.takes_response_format


def test_the_judge_s_own_schema_is_taken(base_url):
    llm = OpenAIUserLLM(base_url=base_url, model="lab")
    text = "Try @Acme Mug@[Ad-1000] or @Zenith Kettle@[Ad-2000]."
    exposure = Exposure(ALICE, ASKED, Auction(ASKED.id, tuple(ADS), (5, 50)), Response(ASKED.id, 0, text, 9))
    feedback = UserLLMJudge(llm).feedback_many([exposure], ads=ADS, seed=1)[0]
    assert llm.takes_response_format
    assert [ad.ad_id for ad in feedback.ads] == list(ADS)
    assert feedback.errors == {}
