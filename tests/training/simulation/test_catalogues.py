import json
import os
from collections import Counter
from pathlib import Path

import pytest

from campaigns.auction.categories import CATEGORIES
from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.simulation.catalogues import import_ads, shop_ads
from training.simulation.world import read_ads

GEM_BENCH = os.environ.get("GEM_BENCH_DIR", "")


def bring(tmp_path, text, name="shop.csv", **options):
    file = tmp_path / name
    file.write_bytes(text.encode())
    return import_ads(file, **options)


def test_the_default_ads_are_the_shops_100_in_50_categories():
    counts = Counter(ad.category for ad in shop_ads())
    assert set(counts) == set(CATEGORIES)
    assert sum(counts.values()) == 100
    assert all(ad.description for ad in shop_ads())


def test_csv_is_read_and_ids_are_given_around_those_of_the_file(tmp_path):
    text = (
        '\ufeffTitle,ID,Category,Description,url\r\nMug,,kitchen,"Holds\r\ntea, too",http://x\r\n\r\nPan,Ad-1000,,,\r\n'
    )
    imported = bring(tmp_path, text)
    assert [(ad.id, ad.title, ad.category, ad.description) for ad in imported.ads] == [
        ("Ad-1001", "Mug", "kitchen", "Holds tea, too"),
        ("Ad-1000", "Pan", "", ""),
    ]
    assert imported.counts == {"read": 2, "ads": 2, "categories": 1}


def test_json_lines_and_gem_bench_are_read(tmp_path):
    lines = '{"title": "Mug", "category": "kitchen"}\n\n{"title": "Pan", "url": "https://pan.example/"}\n'
    assert [ad.title for ad in bring(tmp_path, lines, "ads.jsonl").ads] == ["Mug", "Pan"]
    products = {"Kitchen": {"names": ["Mug", "Pan"], "urls": ["", ""], "descs": ["For tea.", ""]}, "Empty": {}}
    imported = bring(tmp_path, json.dumps(products), "products.json", form="gem-bench")
    assert [(ad.title, ad.category, ad.description) for ad in imported.ads] == [
        ("Mug", "Kitchen", "For tea."),
        ("Pan", "Kitchen", ""),
    ]


@pytest.mark.parametrize(
    ("title", "kept", "done", "reason"),
    [
        ("Acme Mug [large]", "Acme Mug (large)", "cleaned", "characters that mark up ads"),
        ("Acme @ Home <Mug>", "Acme at Home (Mug)", "cleaned", "characters that mark up ads"),
        ("Acme\u200b Mug\u00a0No. 1", "Acme Mug No. 1", "cleaned", "invisible or unusual characters"),
        ("M", None, "refused", "too short or too long"),
        ("", None, "refused", "too short or too long"),
        ("Mug " * 40, None, "refused", "too short or too long"),
        ("!?!", None, "refused", "no letter or digit"),
        ("a" + "\u0301" * 9, None, "refused", "combining marks"),
        ("ZENITH pan!", None, "dropped", "title looks like an earlier one"),
    ],
)
def test_titles_meet_the_rules_of_the_market(tmp_path, title, kept, done, reason):
    rows = "".join(json.dumps({"title": text}) + "\n" for text in ("Zenith Pan", title))
    imported = bring(tmp_path, rows, "ads.jsonl")
    assert [ad.title for ad in imported.ads] == ["Zenith Pan"] + ([kept] if kept else [])
    (problem,) = imported.problems
    assert (problem.where, problem.done, problem.reason) == ("ads.jsonl:2", done, reason)
    assert imported.counts[done] == {reason: 1}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "", r"a\.csv:1: the header needs"),
        ("a.csv", "name\nMug\n", r"a\.csv:1: the header needs"),
        ("a.csv", "title,title\nMug,Mug\n", r"a\.csv:1: the header needs"),
        ("a.csv", "title,titel\nMug,x\n", r"a\.csv:1: unknown column 'titel'"),
        ("a.csv", 'title,category\n"Mug\n",x\nPan\n', r"a\.csv:4: 1 cells, but the header has 2"),
        ("a.csv", 'title\n"Mug\n', r"a\.csv:2: not CSV"),
        ("a.csv", "title\n\n", "no ad that can be used"),
        ("a.csv", "title\nM\n", "no ad that can be used"),
        ("a.csv", "title,id\nMug,7\n", r"a\.csv:2: An ad id looks like"),
        (
            "a.csv",
            "title,id\nMug,Ad-1000\nPan,Ad-1000\n",
            r"a\.csv:3: the id Ad-1000 stands there twice, first at a\.csv:2",
        ),
        ("a.jsonl", '{"title": "Mug"}\n{"name": "Pan"}\n', r"a\.jsonl:2: unknown field 'name'"),
        ("a.jsonl", '{"title": 7}\n', r"a\.jsonl:1: title"),
        ("a.txt", "Mug\n", "say which --format"),
    ],
)
def test_a_wrong_file_is_named_by_line(tmp_path, name, text, complaint):
    with pytest.raises(DataError, match=complaint):
        bring(tmp_path, text, name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "not an object of topics"),
        ({"Tea": []}, "topic 'Tea' is not an object of lists"),
        ({"Tea": {"names": ["Pot"], "urls": [], "descs": [""]}}, "topic 'Tea' needs lists"),
        ({"Tea": {"names": "Pot", "urls": "Pot", "descs": "Pot"}}, "topic 'Tea' needs lists"),
        ({"Tea": {"names": [7], "urls": [""], "descs": [""]}}, "topic 'Tea', product 1: not text"),
    ],
)
def test_a_wrong_product_file_is_named_by_topic(tmp_path, content, complaint):
    with pytest.raises(DataError, match=complaint):
        bring(tmp_path, json.dumps(content), "products.json", form="gem-bench")


def test_bytes_that_are_no_text_are_an_error_of_data(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"title\n\xff\n")
    with pytest.raises(DataError, match=r"a\.csv: "):
        import_ads(tmp_path / "a.csv")


def test_a_limit_draws_two_of_a_category_by_seed_in_the_files_order(tmp_path):
    rows = "".join(f"Product {number},category {number % 30}\n" for number in range(300))
    drawn = [bring(tmp_path, "title,category\n" + rows, limit=20, seed=seed).ads for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(Counter(ad.category for ad in drawn[0]).values()) == {2}
    numbers = [int(ad.title.split()[1]) for ad in drawn[0]]
    assert numbers == sorted(numbers)
    assert [ad.id for ad in drawn[0]] == [f"Ad-{number}" for number in range(1000, 1020)]
    assert len(bring(tmp_path, "title,category\n" + rows, limit=999).ads) == 300


@pytest.mark.skipif(not GEM_BENCH, reason="GEM_BENCH_DIR does not name a folder with GEM-Bench's products.json")
def test_gem_benchs_products_are_imported_and_read_back(tmp_path):
    imported = import_ads(Path(GEM_BENCH) / "products.json", form="gem-bench")
    assert imported.counts["read"] == len(imported.ads) + len([p for p in imported.problems if p.done != "cleaned"])
    assert len(imported.ads) > 4000
    jsonl.write(tmp_path / "ads.jsonl", imported.ads)
    assert read_ads(tmp_path / "ads.jsonl") == imported.ads
