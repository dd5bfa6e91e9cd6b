import json

import pytest

from training.dataset.jsonl import DataError
from training.dataset.records import Ad, Profile, Query
from training.simulation.world import (
    World,
    read_ads,
    read_categories,
    read_queries,
    read_world,
    without_leaks,
    write_world,
)

MUG, TEA = Ad("Ad-1001", "Acme Mug", "kitchen"), Ad("Ad-1002", "Zenith Tea")
WORLD = World(
    ads={ad.id: ad for ad in (TEA, MUG)},
    profiles={"u1": Profile("u1", "A nurse.", ("tea",), "train"), "u2": Profile("u2", "A chef.", (), "test")},
    queries=[Query("u1-q0", "u1", "Which tea?", "train"), Query("u2-q0", "u2", "Which mug?", "test")],
)


def write_lines(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_world_is_read_as_it_was_written(tmp_path):
    source = write_world(tmp_path / "w", WORLD, {"source": "builtin", "seed": 7})
    assert read_world(tmp_path / "w") == WORLD
    assert list(read_world(tmp_path / "w").ads) == ["Ad-1002", "Ad-1001"]  # the catalogue's order, not the ids'
    assert source["seed"] == 7
    assert source["counts"]["queries"] == source["counts"]["distinct_texts"] == 2
    assert set(source["sha256"]) == {"ads.jsonl", "profiles.jsonl", "queries.jsonl"}
    assert read_categories(tmp_path / "w") == {}


def test_an_unfinished_world_is_refused(tmp_path):
    write_world(tmp_path, WORLD, {})
    (tmp_path / "source.json").unlink()
    with pytest.raises(DataError, match=r"no source\.json"):
        read_world(tmp_path)


def test_a_world_changed_behind_its_source_is_refused(tmp_path):
    write_world(tmp_path, WORLD, {})
    with (tmp_path / "queries.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match=r"queries\.jsonl was changed"):
        read_world(tmp_path)


@pytest.mark.parametrize(
    ("file", "row", "complaint"),
    [
        ("queries", '{"id": "x", "profile_id": "u9", "text": "Why?", "split": "test"}', "no profile u9"),
        ("queries", '{"id": "x", "profile_id": "u1", "text": "Why?", "split": "test"}', "other split"),
        ("queries", '{"id": "u1-q0", "profile_id": "u1", "text": "Why?", "split": "train"}', "twice"),
        ("profiles", '{"id": "u1", "info": "", "interests": [], "split": "train"}', "twice"),
    ],
)
def test_files_that_contradict_each_other_are_refused_by_line(tmp_path, file, row, complaint):
    write_world(tmp_path, WORLD, {})
    with (tmp_path / f"{file}.jsonl").open("a") as out:
        out.write(row + "\n")
    (tmp_path / "source.json").write_text('{"sha256": {}}')
    with pytest.raises(DataError, match=rf"{file}\.jsonl:3: .*{complaint}"):
        read_world(tmp_path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "Ad-1001", "title": "Other"}', "Ad-1001 stands there twice"),
        ('{"id": "Ad-1002", "title": "ACME mug!"}', "looks like that of Ad-1001"),
        ('{"id": "Ad-1002", "title": "Mug@home"}', "mark up ads"),
        ('{"id": "Ad-0007", "title": "Mug"}', "An ad id looks like"),  # the example's ids
        ('{"id": "1002", "title": "Mug"}', "id"),
        ('{"id": "Ad-1002"}', "title"),
        ('{"id": "Ad-1002", "title": "Mug", "bid": 3}', "unknown field 'bid'"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_ad_is_named_by_line(tmp_path, line, complaint):
    file = write_lines(tmp_path / "ads.jsonl", '{"id": "Ad-1001", "title": "Acme Mug"}', "", line)
    with pytest.raises(DataError, match=rf"ads\.jsonl:3: .*{complaint}"):
        read_ads(file)


def test_an_ads_file_without_ads_is_refused(tmp_path):
    with pytest.raises(DataError, match="no ad"):
        read_ads(write_lines(tmp_path / "ads.jsonl", ""))


def test_strangers_questions_become_users_and_queries(tmp_path):
    lines = (
        '{"text": "Which tea?", "profile": "A nurse.", "interests": ["tea"], "split": "train"}',
        '{"text": "Which mug?"}',
        '{"text": "Which  kettle?\\u200b", "profile": "A nurse.", "interests": ["tea"]}',
        '{"text": "which TEA", "profile": "A nurse.", "interests": ["tea"]}',
        '{"text": "Which tea?!", "split": "test"}',
    )
    profiles, queries, dropped = read_queries(write_lines(tmp_path / "q.jsonl", *lines), seed=1)
    assert [profile.text for profile in profiles] == ["A nurse. Interests: tea.", "", ""]
    asked = [(query.id, query.text) for query in queries]
    assert asked == [("u00000-q0", "Which tea?"), ("u00000-q1", "Which  kettle?"), ("u00001-q0", "Which mug?")]
    assert {query.split for query in queries[:2]} == {"train"}
    assert dropped == {"asked_twice_by_one_user": 1, "test_text_also_in_train": 1}


def test_one_stranger_in_five_is_drawn_for_testing_by_seed(tmp_path):
    file = write_lines(tmp_path / "q.jsonl", *(json.dumps({"text": f"Why {n}?"}) for n in range(100)))
    splits = [[query.split for query in read_queries(file, seed=seed)[1]] for seed in (1, 1, 2)]
    assert [split.count("test") for split in splits] == [20, 20, 20]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": ""}', "text"),
        ('{"text": "\\u200b"}', "Please write a question"),
        ('{"profile": "A nurse."}', "text"),
        ('{"text": "Why?", "prompt": "x"}', "unknown field 'prompt'"),
        ('{"text": "Why?", "split": "dev"}', "split"),
        ('{"text": 7}', "text"),
        ('{"text": "Why?", "profile": "A nurse.", "split": "test"}', "both in train and in test"),
        (json.dumps({"text": "a" * 2001}), "2,000 is the most"),
    ],
)
def test_a_wrong_question_is_named_by_line(tmp_path, line, complaint):
    first = '{"text": "Which tea?", "profile": "A nurse.", "split": "train"}'
    with pytest.raises(DataError, match=rf"q\.jsonl:2: .*{complaint}"):
        read_queries(write_lines(tmp_path / "q.jsonl", first, line), seed=1)


def test_a_test_question_that_training_holds_is_left_out():
    queries = [*WORLD.queries, Query("u2-q1", "u2", "which  TEA", "test")]
    assert without_leaks(queries) == WORLD.queries
