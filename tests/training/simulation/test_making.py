import json

import pytest

from training.dataset.jsonl import DataError
from training.simulation.catalogues import shop_ads
from training.simulation.making import make_world, take_world
from training.simulation.queries import BuiltinQueries
from training.simulation.user_llm import ScriptedUserLLM, UserLLMError
from training.simulation.user_queries import UserLLMQueries
from training.simulation.world import read_categories, read_world

ADS = shop_ads()


def make(out, *, seed=7, source=None, count=40, ads=ADS):
    source = source or BuiltinQueries(seed=seed)
    return make_world(out=out, source=source, ads=ads, ads_from="shop", seed=seed, num_profiles=count, num_queries=5)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def scripted(*, broken_at=None):
    """The source behind `scripted_llm`."""
    return UserLLMQueries(user_llm=scripted_llm(broken_at=broken_at), model="scripted-1", concurrency=1)


def scripted_llm(*, broken_at=None):
    """A User-LLM that asks about what it reads; from its `broken_at`-th call on it is down."""

    def answer(prompt):
        if broken_at is not None and len(user_llm.prompts) >= broken_at:
            raise UserLLMError("unavailable", "The User-LLM is down.")
        info = prompt.split("Basic Information: ")[1].split("\n")[0]
        if "retired" in info.lower():
            return "I have no questions."
        return json.dumps([f"{number}: {info[:200]}?" for number in range(4)] + ["What is new?"])

    user_llm = ScriptedUserLLM(answer)
    return user_llm


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        make(tmp_path / name, seed=seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert set(files(tmp_path / "a")) == {"ads.jsonl", "profiles.jsonl", "queries.jsonl", "asked.jsonl", "source.json"}
    a, c = files(tmp_path / "a"), files(tmp_path / "c")
    assert a["queries.jsonl"] != c["queries.jsonl"]
    assert a["profiles.jsonl"] != c["profiles.jsonl"]
    assert a["ads.jsonl"] == c["ads.jsonl"]


def test_a_built_in_world_splits_by_user_and_knows_its_categories(tmp_path):
    source = make(tmp_path)
    world = read_world(tmp_path)
    assert (len(world.profiles), len(world.queries), len(world.ads)) == (40, 200, 100)
    assert source["counts"]["train_queries"] == 160
    assert source["counts"]["texts_in_both_splits"] == 0
    assert set(read_categories(tmp_path)) == {query.id for query in world.queries}


def test_a_finished_world_is_not_made_again_and_not_overwritten(tmp_path):
    source = make(tmp_path)
    before = files(tmp_path)
    assert make(tmp_path) == source
    for change in ({"seed": 8}, {"count": 41}, {"ads": ADS[:50]}):
        with pytest.raises(DataError, match="already holds another world"):
            make(tmp_path, **change)
    assert files(tmp_path) == before


def test_a_run_whose_model_went_away_goes_on_to_the_same_bytes(tmp_path):
    make(tmp_path / "whole", source=scripted())
    with pytest.raises(UserLLMError):
        make(tmp_path / "broken", source=scripted(broken_at=25))
    assert "source.json" not in files(tmp_path / "broken")
    with pytest.raises(DataError, match="begun with other settings"):
        make(tmp_path / "broken")
    rest = scripted()
    make(tmp_path / "broken", source=rest)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_what_the_user_llm_got_wrong_is_reported(tmp_path):
    source = make(tmp_path, source=scripted())
    world = read_world(tmp_path)
    silent = source["users_without_questions"]
    assert (source["source"], source["model"], source["response_format"]) == ("user-llm", "scripted-1", "taken")
    assert silent > 0
    assert source["retries_or_failures"] == {"not_json": 3 * silent}
    assert len(world.profiles) == 40 - silent
    # "What is new?" is asked by everybody, so nobody may be tested with it.
    assert source["dropped"] == {"test_text_also_in_train": source["counts"]["test_profiles"]}
    assert {query.text for query in world.queries if query.split == "test"}.isdisjoint({"What is new?"})


@pytest.mark.parametrize(("count", "asked"), [(3, 9), (90, 60)])
def test_a_model_that_never_writes_questions_makes_no_world(tmp_path, count, asked):
    user_llm = ScriptedUserLLM(lambda prompt: "I am a parrot.")
    with pytest.raises(DataError, match="not_json"):
        make(tmp_path, source=UserLLMQueries(user_llm=user_llm, model="parrot", concurrency=1), count=count)
    assert asked <= len(user_llm.prompts) <= asked + 6  # not 270
    make(tmp_path, source=UserLLMQueries(user_llm=scripted_llm(), model="parrot", concurrency=1), count=count)
    assert len(read_world(tmp_path).profiles) > 0  # the parrot left no trace


def test_a_world_of_own_questions_needs_no_source(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"text": "Which tea?"}\n{"text": "Which mug?", "profile": "A chef."}\n')
    made = take_world(out=tmp_path / "w", queries_file=file, ads=ADS, ads_from="shop", seed=1)
    assert (made["source"], made["queries_from"]) == ("file", "mine.jsonl")
    assert [query.text for query in read_world(tmp_path / "w").queries] == ["Which tea?", "Which mug?"]
    with pytest.raises(DataError, match="already holds a world"):
        take_world(out=tmp_path / "w", queries_file=file, ads=ADS, ads_from="shop", seed=1)
