import pytest

from training.dataset import jsonl
from training.dataset.records import Ad, Auction, Feedback, Profile, Query, Response

ALICE = Profile(id="u1", info="A nurse.", interests=("tea", "running"), split="test")


def test_what_is_written_is_read(tmp_path):
    rows = [ALICE, Profile(id="u2", info="Ünïcode \u2028 “quotes”", interests=(), split="train")]
    jsonl.write(tmp_path / "profiles.jsonl", rows)
    assert list(jsonl.read(Profile, tmp_path / "profiles.jsonl")) == rows
    assert [path.name for path in tmp_path.iterdir()] == ["profiles.jsonl"]


@pytest.mark.parametrize(
    ("kind", "line", "complaint"),
    [
        (Ad, "{", "not JSON"),
        (Ad, "[]", "not a JSON object"),
        (Ad, '{"id": "Ad-1"}', "title"),
        (Ad, '{"id": "1", "title": "Mug"}', "id"),  # the prompt's format
        (Ad, '{"id": "Ad-1", "title": "Mug", "titel": "x"}', "titel"),
        (Query, '{"id": "q", "profile_id": "u", "text": "", "split": "test"}', "text"),
        (Query, '{"id": "q", "profile_id": "u", "text": "t", "split": "dev"}', "split"),
        (Auction, '{"query_id": "q", "ad_ids": ["Ad-1"], "bids": ["x"]}', "bids.0"),
        (Response, '{"query_id": "q", "sample": -1, "text": "", "tokens": 0}', "sample"),
        (Feedback, '{"query_id": "q", "sample": 0, "ads": [{"ad_id": "Ad-1"}]}', "ads.0"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, kind, line, complaint):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n" + line + "\n")
    with pytest.raises(jsonl.DataError, match=rf"rows\.jsonl:2: .*{complaint}"):
        list(jsonl.read(kind, file))


def test_a_missing_file_is_an_error_of_data(tmp_path):
    with pytest.raises(jsonl.DataError, match=r"none\.jsonl"):
        list(jsonl.read(Ad, tmp_path / "none.jsonl"))


def test_a_killed_run_goes_on_behind_its_last_whole_line(tmp_path):
    file = tmp_path / "responses.jsonl"
    rows = [Response("q", n, "text", 1) for n in range(4)]
    with pytest.raises(KeyboardInterrupt), jsonl.growing(file) as out:  # noqa: PT012
        out.add(rows[:2])
        raise KeyboardInterrupt
    assert not file.exists()
    with (tmp_path / "responses.jsonl.part").open("a") as broken:
        broken.write(jsonl.dump(rows[2])[:9])
    with jsonl.growing(file) as out:
        assert out.count == 2
        out.add(rows[2:])
    assert list(jsonl.read(Response, file)) == rows


def test_a_growing_file_has_one_writer(tmp_path):
    with jsonl.growing(tmp_path / "rows.jsonl") as first:
        first.add([Ad("Ad-1000", "Acme Mug")])
        second = jsonl.growing(tmp_path / "rows.jsonl")
        with pytest.raises(jsonl.DataError, match=r"rows\.jsonl\.part is being written"):
            second.__enter__()
        first.add([Ad("Ad-1001", "Acme Pan")])
    assert [ad.id for ad in jsonl.read(Ad, tmp_path / "rows.jsonl")] == ["Ad-1000", "Ad-1001"]
