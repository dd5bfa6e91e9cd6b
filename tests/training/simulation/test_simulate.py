import json

import pytest
from django.core.management import CommandError, call_command

from tests.fake_openai import FakeOpenAI, Plan, free_port

TINY = ("simulate", "--preset", "tiny", "--engine", "openai", "--model", "fake")


def test_a_server_s_answers_become_clicks_and_figures(tmp_path, capsys):
    with FakeOpenAI(plan=Plan(text="Warm the pot. Take @Brewbright Burr Coffee Grinder@[Ad-1].")) as fake:
        call_command(*TINY, "--base-url", fake.base_url, "--out", str(tmp_path / "run"), "--json")
    figures = json.loads(capsys.readouterr().out)
    assert (figures["queries"], figures["answers"], figures["ads_shown"]) == (6, 12, 0)
    assert figures["format_errors"] == {"unknown_id": 12}
    assert figures["reward_per_query"] == -500
    assert figures["timing"]["tokens"] == figures["tokens"] == 60


def test_own_ads_and_questions_run_through_the_same_code(tmp_path, capsys):
    ads, queries = tmp_path / "ads.jsonl", tmp_path / "queries.jsonl"
    ads.write_text('{"id": "Ad-4000", "title": "Acme Mug"}\n{"id": "Ad-4001", "title": "Zenith Kettle"}\n')
    queries.write_text('{"text": "Which mug is best for tea?"}\n')
    with FakeOpenAI(plan=Plan(text="For tea, take @Acme Mug@[Ad-4000].")) as fake:
        call_command(
            *(*TINY, "--base-url", fake.base_url, "--out", str(tmp_path / "run")),
            *("--ads", str(ads), "--queries", str(queries)),
        )
        assert '"Ad Title": "Acme Mug"' in fake.requests[0]["messages"][0]["content"]
    told = capsys.readouterr().out
    assert "2 answers to 1 queries" in told
    assert "Acme Mug" in told


def test_a_judge_s_verdicts_become_clicks(tmp_path, capsys):
    # The same words serve as answer and as verdict: the judge finds the list in them.
    text = 'Take @Acme Mug@[Ad-4000]. [{"ad_id": "Ad-4000", "clicked": true, "reason": "tea"}]'
    ads = tmp_path / "ads.jsonl"
    ads.write_text('{"id": "Ad-4000", "title": "Acme Mug"}\n')
    with FakeOpenAI(plan=Plan(text=text)) as fake:
        call_command(
            *(*TINY, "--base-url", fake.base_url, "--out", str(tmp_path / "run"), "--ads", str(ads)),
            *("--clicks", "user-llm", "--user-llm", "fake", "--json"),
        )
    figures = json.loads(capsys.readouterr().out)
    assert (figures["clicks"], figures["reward_ctr"], figures["judge_errors"]) == (12, "clicked", {"prose": 12})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--queries", "0"), "--queries must be at least 1"),
        (("--engine", "openai"), "needs --base-url"),
        (("--engine", "vllm"), "vLLM cannot be imported"),
        (("--world", "none", "--ads", "a"), "brings its own ads"),
        (("--world", "none"), "holds no finished world"),
        (("--ads", "none.jsonl"), "none.jsonl"),
        (("--clicks", "user-llm", "--engine", "openai", "--base-url", "http://x/v1"), "needs --user-llm"),
        (("--model", "nowhere"), "No model could be loaded"),
        (("--engine", "openai", "--base-url", f"http://127.0.0.1:{free_port()}/v1"), "--resume goes on from here"),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(tmp_path, arguments, complaint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(CommandError, match=complaint) as error:
        call_command("simulate", "--preset", "tiny", "--out", str(tmp_path / "run"), *arguments)
    assert "\n" not in str(error.value)


def test_a_folder_is_not_taken_twice(tmp_path, capsys):
    with FakeOpenAI() as fake:
        command = (*TINY, "--base-url", fake.base_url, "--out", str(tmp_path / "run"), "--json")
        call_command(*command)
        with pytest.raises(CommandError, match="already holds this run"):
            call_command(*command)
        first = fake.generations
        call_command(*command, "--resume")
        assert fake.generations == first
