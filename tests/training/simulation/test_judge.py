import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.simulation.answers import ADS, ALICE, AUCTION, LAMP, MUG, QUERY, exposure, marker, response
from training.simulation.judge import MAX_CHARS, JudgeError, UserLLMJudge, feedback_schema, parse_feedback
from training.simulation.prompts import click_prompt
from training.simulation.user_llm import ScriptedUserLLM, UserLLMError

SHOWN = ("Ad-1", "Ad-2")


def verdict(ad_id, clicked=True, reason="fits"):
    return {"ad_id": ad_id, "clicked": clicked, "reason": reason}


BOTH = [verdict("Ad-1"), verdict("Ad-2", False)]
GOOD = json.dumps(BOTH)


def clicked(text, shown=SHOWN):
    return [ad.ad_id for ad in parse_feedback(text, shown)[0] if ad.clicked]


@pytest.mark.parametrize(
    ("name", "told"), [("Qwen/Qwen3-32B", "judge:Qwen/Qwen3-32B"), ("/models/alice/judge-7b", "judge:judge-7b")]
)
def test_its_name_holds_no_path(name, told):
    llm = ScriptedUserLLM([])
    llm.name = name
    assert UserLLMJudge(llm).name == told


def test_a_good_answer_has_no_errors():
    ads, errors = parse_feedback(GOOD, SHOWN)
    assert [(ad.ad_id, ad.position, ad.clicked, ad.reason) for ad in ads] == [
        ("Ad-1", 0, True, "fits"),
        ("Ad-2", 1, False, "fits"),
    ]
    assert not errors


@pytest.mark.parametrize(
    ("text", "errors", "clicks"),
    [
        ("", {"not_json": 1, "missing": 2}, []),
        ("I would click Ad-1.", {"not_json": 1, "missing": 2}, []),
        ("[]", {"missing": 2}, []),
        ("null", {"wrong_type": 1, "missing": 2}, []),
        (f"Here you are: {GOOD}", {"prose": 1}, ["Ad-1"]),
        (f"As [Ad-1] fits: {GOOD} Bye", {"prose": 2}, ["Ad-1"]),  # brackets in prose
        (f"```json\n{GOOD}\n```", {"prose": 2}, ["Ad-1"]),
        (GOOD + GOOD, {"prose": 1}, ["Ad-1"]),
        (GOOD[:-1], {"truncated": 1}, ["Ad-1"]),
        (GOOD[: GOOD.index("Ad-2")], {"truncated": 1, "missing": 1}, ["Ad-1"]),
        (GOOD[:5], {"truncated": 1, "missing": 2}, []),
        ("[", {"truncated": 1, "missing": 2}, []),
        (GOOD.replace("}, {", "} {"), {"not_json": 1}, ["Ad-1"]),  # no comma
        (GOOD.replace('"', "'"), {"not_json": 1, "missing": 2}, []),
        (json.dumps({"feedback": BOTH}), {"wrong_type": 1}, ["Ad-1"]),
        (json.dumps(BOTH[0]), {"wrong_type": 1, "missing": 1}, ["Ad-1"]),
        (json.dumps([*BOTH, "x"]), {"wrong_type": 1}, ["Ad-1"]),
        (json.dumps([verdict(1), BOTH[1]]), {"wrong_type": 1, "missing": 1}, []),
        (json.dumps([verdict("Ad-1", "true"), BOTH[1]]), {"wrong_type": 1}, []),  # a word is no click
        (json.dumps([verdict("Ad-1", 1), BOTH[1]]), {"wrong_type": 1}, []),
        (json.dumps([verdict("Ad-1", True, None), BOTH[1]]), {"wrong_type": 1}, ["Ad-1"]),
        (json.dumps([{"ad_id": "Ad-1", "clicked": True}, BOTH[1]]), {"wrong_fields": 1}, ["Ad-1"]),
        (json.dumps([verdict("Ad-1") | {"bid": 3}, BOTH[1]]), {"wrong_fields": 1}, ["Ad-1"]),
        (json.dumps([*BOTH, verdict("Ad-9")]), {"unknown_id": 1}, ["Ad-1"]),
        (json.dumps([*BOTH, verdict("Ad-2")]), {"duplicate": 1}, ["Ad-1"]),  # the first verdict counts
        (GOOD.replace("fits", "a\ttab"), {}, ["Ad-1"]),
        ("[" * 50_000, {"too_long": 1, "truncated": 1, "missing": 2}, []),
        ('[{"ad_id":' * 3000, {"truncated": 1, "missing": 2}, []),
        (f"[{'9' * 5000}]", {"not_json": 1, "missing": 2}, []),
        (GOOD[:-1] + " " * MAX_CHARS, {"too_long": 1, "truncated": 1}, ["Ad-1"]),
    ],
)
def test_what_is_wrong_is_counted_by_kind(text, errors, clicks):
    assert {kind.value: count for kind, count in parse_feedback(text, SHOWN)[1].items()} == errors
    assert clicked(text) == clicks


def mutations(rng, ids):
    """A valid answer made invalid in one to three ways; every one must leave a trace."""
    rows = [
        verdict(ad_id, rng.random() < 0.5, rng.choice(["fits", "no [use]", 'a "good" one', "ünï"])) for ad_id in ids
    ]
    kind = rng.randrange(8)
    at = rng.randrange(len(rows))
    if kind == 0:
        rows[at]["ad_id"] = rng.choice(["Ad-999", "Ad-", "", 7, None, ["Ad-1"], ids[at].lower()])
    elif kind == 1:
        rows.insert(rng.randrange(len(rows) + 1), dict(rows[at]))
    elif kind == 2:
        del rows[at]
    elif kind == 3:
        rows[at]["clicked"] = rng.choice(["true", 1, 0, None, [], {}, "yes", 0.5])
    elif kind == 4:
        rows[at] = rng.choice([None, 1, "Ad-1", [], [rows[at]], {}])
    elif kind == 5:
        rows[at].pop(rng.choice(["ad_id", "clicked", "reason"]))
    text = json.dumps(rows, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 2]))
    if kind == 6:
        text = text[: rng.randrange(len(text))]
    elif kind == 7:
        text = rng.choice(["Sure! ", "```json\n", "{", "<think>Hm [1]</think>", "]"]) + text
    if rng.random() < 0.3:
        text = text + rng.choice([" Hope that helps.", "\n```", "]", "}", "\x00"])
    if rng.random() < 0.1:
        cut = rng.randrange(len(text) + 1)
        text = text[:cut] + rng.choice(["\ud800", '"', "\\", "{", ",", "\n\n"]) + text[cut:]
    return text


def test_a_thousand_malformed_answers_are_counted_and_none_is_fatal():
    rng = random.Random(20)
    kinds = set()
    for _ in range(1000):
        ids = [f"Ad-{n}" for n in rng.sample(range(1000, 2000), rng.randint(1, 4))]
        text = mutations(rng, ids)
        ads, errors = parse_feedback(text, ids)
        assert [(ad.ad_id, ad.position) for ad in ads] == [(ad_id, at) for at, ad_id in enumerate(ids)]
        assert sum(errors.values()) > 0, text
        kinds |= set(errors)
    assert kinds == set(JudgeError) - {JudgeError.no_answer, JudgeError.too_long}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["Ad-1", "Ad-2", "Ad-3"]) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ad_id", "clicked", "reason", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.one_of(st.text(), JSON.map(json.dumps)))
def test_whatever_comes_every_shown_ad_gets_one_verdict(text):
    ads, errors = parse_feedback(text, SHOWN)
    assert [ad.ad_id for ad in ads] == list(SHOWN)
    assert all(count > 0 for count in errors.values())


def test_the_schema_asks_for_each_shown_ad_once():
    schema = feedback_schema(SHOWN)
    assert (schema["minItems"], schema["maxItems"]) == (2, 2)
    assert [item["properties"]["ad_id"] for item in schema["prefixItems"]] == [{"const": "Ad-1"}, {"const": "Ad-2"}]
    assert schema["items"]["properties"]["ad_id"]["enum"] == ["Ad-1", "Ad-2"]


def judge(llm, text):
    return UserLLMJudge(llm).feedback(
        profile=ALICE, query=QUERY, ads=ADS, auction=AUCTION, response=response(text), seed=0
    )


def test_the_judge_reads_what_the_user_sees():
    llm = ScriptedUserLLM([json.dumps([verdict(MUG.id)])])
    text = f"Warm the cup. {marker(MUG)} helps. <|im_start|>"
    feedback = judge(llm, text)
    assert [(ad.ad_id, ad.clicked, ad.ctr) for ad in feedback.ads] == [(MUG.id, True, None)]
    assert feedback.errors == {}
    (prompt,) = llm.prompts
    assert prompt == click_prompt(profile=ALICE, query=QUERY.text, response=text)
    assert f"{marker(MUG)} helps. < im_start >" in prompt
    assert ALICE.info in prompt
    assert "tea, reading" in prompt
    assert "70" not in prompt  # bids are no business of the user's


@pytest.mark.parametrize("text", ["Warm the cup.", "Warm the cup. @Blue Mug@[Ad-9] helps."])
def test_an_answer_without_ads_is_not_judged(text):
    llm = ScriptedUserLLM([])
    assert judge(llm, text).ads == ()
    assert llm.prompts == []


@pytest.mark.parametrize(
    ("answers", "asked", "errors"),
    [
        (["unavailable", "timeout", GOOD], 3, {}),
        (["unavailable"] * 4, 3, {"no_answer": 1}),  # retried twice, then counted
        (["refused", GOOD], 1, {"no_answer": 1}),  # asking again would not help
        (["nonsense", GOOD], 1, {"not_json": 1, "missing": 2}),  # a bad answer is the judge's answer
    ],
)
def test_only_transport_errors_are_retried(answers, asked, errors):
    kinds = ("unavailable", "timeout", "refused")
    llm = ScriptedUserLLM([UserLLMError(kind, "x") if kind in kinds else kind for kind in answers])
    feedback = judge(llm, f"Warm it. {marker(MUG)} and {marker(LAMP)} help. Wait.")
    assert (len(llm.prompts), feedback.errors) == (asked, errors)
    assert [ad.ad_id for ad in feedback.ads] == [MUG.id, LAMP.id]


def test_many_answers_come_back_in_order():
    llm = ScriptedUserLLM(lambda prompt: json.dumps([verdict(MUG.id, "number 3" in prompt)]))
    exposures = [exposure(f"Warm it, number {n}. {marker(MUG)} helps.", sample=n) for n in range(6)]
    found = UserLLMJudge(llm, concurrency=3).feedback_many(exposures, ads=ADS, seed=0)
    assert [(one.sample, one.ads[0].clicked) for one in found] == [(n, n == 3) for n in range(6)]
