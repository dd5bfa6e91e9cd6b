import json

import pytest
from django.core.management import CommandError, call_command

from tests.fake_openai import FakeOpenAI, Plan, free_port
from training.simulation.world import read_world


def run(capsys, *args):
    call_command(*map(str, args))
    return capsys.readouterr().out


def test_strangers_ads_and_questions_become_a_world(tmp_path, capsys):
    (tmp_path / "shop.csv").write_text("title,category\nAcme Mug,kitchen\nZenith [blue] Pan,kitchen\nM,\n")
    (tmp_path / "asked.jsonl").write_text('{"text": "Which mug?"}\n')
    ads, out = tmp_path / "ads" / "ads.jsonl", tmp_path / "world"
    imported = json.loads(run(capsys, "import_ads", tmp_path / "shop.csv", "--out", ads, "--json"))
    assert (imported["read"], imported["ads"]) == (3, 2)
    assert [problem.split(":")[1] for problem in imported["problems"]] == ["3", "4"]
    said = run(capsys, "make_world", "--out", out, "--ads", ads, "--queries", tmp_path / "asked.jsonl")
    assert "2 ads in 1 categories, 1 profiles, 1 questions" in said
    assert [ad.title for ad in read_world(out).ads.values()] == ["Acme Mug", "Zenith (blue) Pan"]


def test_the_built_in_world_needs_only_a_folder(tmp_path, capsys):
    made = json.loads(run(capsys, "make_world", "--out", tmp_path / "w", "--profiles", 10, "--seed", 7, "--json"))
    assert (made["source"], made["seed"], made["counts"]["queries"]) == ("builtin", 7, 50)
    assert made["counts"]["test_queries"] == 10


def test_a_user_llm_asks_over_http_and_says_what_its_server_cannot(tmp_path, capsys):
    questions = [f"Which tea number {number}?" for number in range(5)]
    with FakeOpenAI(plan=Plan(text=json.dumps(questions))) as server:
        server.takes_response_format = False
        options = ("--source", "user-llm", "--base-url", server.base_url, "--model", "fake", "--profiles", 4)
        said = run(capsys, "make_world", "--out", tmp_path / "w", *options)
    assert "does not know response_format" in said
    assert "user-llm fake" in said
    world = read_world(tmp_path / "w")
    assert [query.text for query in world.queries][:5] == questions
    assert {query.split for query in world.queries} == {"train"}  # the test user asked the same and is left out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--profiles", 0), "--profiles must be at least 1"),
        (("--queries-per-profile", 0), "--queries-per-profile must be at least 1"),
        (("--source", "user-llm"), "needs --base-url and --model"),
        (("--ads", "none.jsonl"), r"none\.jsonl"),
        (
            ("--source", "user-llm", "--model", "m", "--base-url", f"http://127.0.0.1:{free_port()}/v1"),
            "cannot be reached. What was asked so far is kept",
        ),
    ],
)
def test_a_world_that_cannot_be_made_says_why(tmp_path, args, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("make_world", "--out", str(tmp_path / "w"), *map(str, args))


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("none.csv",), r"none\.csv"),
        (("none.csv", "--limit", "0"), "--limit must be at least 1"),
    ],
)
def test_ads_that_cannot_be_imported_say_why(tmp_path, args, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("import_ads", "--out", str(tmp_path / "ads.jsonl"), *args)
