import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from chat.adllm import markup  # noqa: E402
from training.dataset import jsonl  # noqa: E402
from training.dataset.artifacts import RunRefused, file_sha256  # noqa: E402
from training.dataset.encoder import CachedEncoder, HashEncoder  # noqa: E402
from training.dataset.jsonl import DataError  # noqa: E402
from training.dataset.records import (  # noqa: E402
    Ad,
    AdFeedback,
    Auction,
    Exposure,
    Feedback,
    OnlineSample,
    PreferenceGroup,
    Profile,
    Query,
    Response,
    ScoredResponse,
)
from training.export.rows import lines  # noqa: E402
from training.irpo import dpo  # noqa: E402
from training.irpo.config import TINY  # noqa: E402
from training.irpo.loop import irpo, read_result  # noqa: E402
from training.irpo.mixing import real_feedback  # noqa: E402
from training.irpo.phases import Parts  # noqa: E402
from training.irpo.reward_source import KnownClicks, LearnedClicks  # noqa: E402
from training.irpo.tiny import write_ads  # noqa: E402
from training.reward_model.predictor import Oracle  # noqa: E402
from training.reward_model.reward import score_many  # noqa: E402
from training.simulation.sampling import ScriptedSampler  # noqa: E402
from training.simulation.transformers_sampler import TransformersSampler  # noqa: E402
from training.simulation.user import BehaviouralUser  # noqa: E402
from training.simulation.world import World  # noqa: E402

ADS = {f"Ad-{1000 + n}": Ad(f"Ad-{1000 + n}", f"Mug {n}", ("tea", "reading")[n % 2]) for n in range(4)}
PEOPLE = {
    f"u{n}": Profile(f"u{n}", f"Person {n}.", ("tea",), "test" if n % 4 == 0 else "train") for n in range(60)
}  # fmt: skip
QUERIES = [Query(f"{p.id}-q0", p.id, f"How do I brew tea number {n}?", p.split) for n, p in enumerate(PEOPLE.values())]
WORLD = World(ADS, PEOPLE, QUERIES)
CATEGORIES = {query.id: "tea" for query in QUERIES}
STAGES = ["online", "pctr", "offline", "preferences", "dpo", "test", "metrics"]


def user():
    return BehaviouralUser(CachedEncoder(HashEncoder(dimensions=64)))


def parts(policy, *, reward=None, sampler=lambda policy: ScriptedSampler(write_ads)):
    return Parts(WORLD, CATEGORIES, str(policy), sampler, user(), reward or KnownClicks(user()), "hash-64")


def pctr():
    return LearnedClicks("pctr", encoder=CachedEncoder(HashEncoder(dimensions=64)), allow_bias=True)


def real_clicks(tmp_path, *, share=0.25, users=12):
    """A file of real answers, in which visitors click the kettle, an ad that this world does not have."""
    kettle, rows = Ad("Ad-9", "Zenith Kettle", "tea"), []
    for n in range(users):
        person, name = Profile(f"live-{n}", "A visitor.", ("tea",), "train"), f"live-{n}"
        exposure = Exposure(
            person, Query(name, person.id, "Which kettle?", "train"), Auction(name, ("Ad-1000", "Ad-9"), (5, 3)),
            Response(name, 0, "Take @Zenith Kettle@[Ad-9].", 5),
        )  # fmt: skip
        rows.append(OnlineSample(exposure, Feedback(name, 0, (AdFeedback("Ad-9", 0, clicked=True),))))
    path = tmp_path / "feedback.jsonl"
    jsonl.write(path, lines(rows, ads=ADS | {kettle.id: kettle}))
    return real_feedback(path, share=share, known=ADS)


def run(out, parts, *, config=TINY, **options):
    return [
        (stage.epoch, stage.name, stage.ran) for stage in irpo(parts=parts, config=config, seed=3, out=out, **options)
    ]


def content(folder):
    """Every file but how long sampling took, and a checkpoint's format, which torch does not repeat byte by byte."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("timing.json", "checkpoint.pt")
    }


def test_two_epochs_leave_every_file_and_figure(tiny_policy, tmp_path):
    ran = run(tmp_path, parts(tiny_policy, reward=pctr()))
    assert ran == [(0, "test", True), (0, "metrics", True)] + [(t, name, True) for t in (1, 2) for name in STAGES]
    result = read_result(tmp_path)
    assert (result["policy"], result["epochs"], result["stopped"]) == ("epoch-02/policy", 2, None)
    before, _, last = result["metrics"]
    for name in (
        "revenue",
        "revenue_true_ctr",
        "reward",
        "ads_per_answer",
        "share_with_format_error",
        "share_on_topic",
    ):
        assert isinstance(before["test"][name], float), name
    assert before["test"]["reward_predicted"] is None
    assert isinstance(last["test"]["reward_predicted"], float)
    assert last["pairs"]["auctions"] == TINY.offline_queries * TINY.auctions
    assert last["pairs"]["share"] > 0
    assert last["pctr"]["rows"]["fit"] > 0
    assert last["dpo"]["steps"] == -(-last["pairs"]["groups"] // TINY.dpo.batch_queries)
    assert last["kl"]["answers"] == TINY.kl_queries
    assert last["kl"]["kl_to_start"] != last["kl"]["kl_to_base"] != 0


def test_each_phase_has_bids_and_answers_of_its_own_and_tests_are_alike(tiny_policy, tmp_path):
    run(tmp_path, parts(tiny_policy, reward=pctr()))

    def rows(kind, where):
        return list(jsonl.read(kind, tmp_path / where))

    drawn = [
        {auction.query_id: auction.bids for auction in rows(Auction, f"epoch-0{t}/{phase}/auctions.jsonl")}
        for t in (1, 2)
        for phase in ("online", "offline/1", "offline/2")
    ]
    both = [
        (one[query], other[query])
        for number, one in enumerate(drawn)
        for other in drawn[:number]
        for query in one.keys() & other.keys()
    ]
    assert len(both) > 40
    assert all(first != second for first, second in both)
    tests = [rows(Auction, f"epoch-0{t}/test/auctions.jsonl") for t in (0, 1, 2)]
    assert tests[0] == tests[1] == tests[2]
    asked = {response.query_id for t in (1, 2) for response in rows(Response, f"epoch-0{t}/offline/1/responses.jsonl")}
    assert asked.isdisjoint(auction.query_id for auction in tests[0])


def test_only_the_answers_that_dpo_learns_from_explore(tiny_policy, tmp_path):
    asked = set()

    class Noting(ScriptedSampler):
        def sample(self, requests, *, n, settings):
            asked.add((n, settings.temperature))
            return super().sample(requests, n=n, settings=settings)

    config = replace(
        TINY, epochs=1, samples=3, online_samples=4, exploring=replace(TINY.sampling, temperature=1.3)
    )  # fmt: skip
    run(tmp_path, parts(tiny_policy, reward=pctr(), sampler=lambda policy: Noting(write_ads)), config=config)
    assert asked == {(1, 0.7), (4, 0.7), (3, 1.3)}  # test, online, offline


def test_winners_are_worth_more_than_the_losers_they_are_set_against(tiny_policy, tmp_path):
    run(tmp_path, parts(tiny_policy), config=replace(TINY, epochs=1, offline_queries=20))
    groups = list(jsonl.read(PreferenceGroup, tmp_path / "epoch-01" / "groups.jsonl"))
    assert len(groups) > 5
    for group in groups:
        candidates = group.auction.candidates(ADS)
        parsed = markup.parse(group.winner.text, candidates, max_ads=len(candidates))
        assert (group.winner.n_ads, group.winner.format_error) == (parsed.n_ads, bool(parsed.errors))
        assert all(group.winner.reward - loser.reward > TINY.pair_threshold for loser in group.losers)


def test_all_answers_to_a_query_are_compared_under_the_bids_of_each_of_its_auctions(tiny_policy, tmp_path):
    run(tmp_path, parts(tiny_policy), config=replace(TINY, epochs=1, offline_queries=20, outside_option=False))
    epoch, queries = tmp_path / "epoch-01", {query.id: query for query in QUERIES}

    def of_query(kind, name):
        found = {}
        for number in (1, 2):
            for row in jsonl.read(kind, epoch / "offline" / str(number) / name):
                found.setdefault(row.query_id, []).append(row)
        return found

    auctions, written = of_query(Auction, "auctions.jsonl"), of_query(Response, "responses.jsonl")
    rows = {}
    for row in jsonl.read(ScoredResponse, epoch / "scored.jsonl"):
        rows.setdefault(row.query_id, []).append(row)
    assert len(rows) == 20
    for query_id, scored in rows.items():
        first, second = auctions[query_id]
        assert first.bids != second.bids
        pool = [replace(response, sample=number) for number, response in enumerate(written[query_id])]
        assert len(pool) == TINY.compared == 4
        exposures = [
            Exposure(PEOPLE[queries[query_id].profile_id], queries[query_id], auction, response)
            for auction in (first, second)
            for response in pool
        ]
        expected = score_many(exposures, ads=ADS, predictor=Oracle(user()))
        assert [(row.sample, row.text, row.reward) for row in scored] == [
            (exposure.response.sample, exposure.response.text, found.reward)
            for exposure, found in zip(exposures, expected, strict=True)
        ]
    groups = list(jsonl.read(PreferenceGroup, epoch / "groups.jsonl"))
    both = [group.query_id for group in groups]
    assert len(set(both)) < len(both)  # of one query, two groups
    assert all(group.auction in auctions[group.query_id] for group in groups)


@pytest.mark.parametrize("offered", [True, False])
def test_an_answer_less_its_ads_is_compared_where_none_without_was_written(tiny_policy, tmp_path, offered):
    def always_an_ad(request, number, seed):
        line = next(line for line in request.messages[0]["content"].splitlines() if line.startswith('{"Ad ID"'))
        ad = json.loads(line)
        return f"Warm the pot. It helps to have @{ad['Ad Title']}@[{ad['Ad ID']}] at hand. Wait {number} minutes."

    config = replace(TINY, epochs=1, penalty_weight=20, outside_option=offered)  # no ad is worth 200
    made = parts(tiny_policy, sampler=lambda policy: ScriptedSampler(always_an_ad))
    run(tmp_path, made, config=config)
    rows = list(jsonl.read(ScoredResponse, tmp_path / "epoch-01" / "scored.jsonl"))
    without = [row for row in rows if not row.n_ads]
    assert len(rows) - len(without) == TINY.offline_queries * TINY.auctions * TINY.compared
    if not offered:
        assert not without
        return
    assert len(without) == TINY.offline_queries * TINY.auctions
    assert {(row.sample, row.reward) for row in without} == {(TINY.compared, 0.0)}
    assert {row.text for row in without} <= {f"Warm the pot. Wait {number} minutes." for number in range(TINY.samples)}
    groups = list(jsonl.read(PreferenceGroup, tmp_path / "epoch-01" / "groups.jsonl"))
    assert len(groups) == len(without)
    assert all(group.winner in without and len(group.losers) == TINY.compared for group in groups)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_reward_model_learns_from_the_clicks_of_as_many_epochs_as_asked(tiny_policy, tmp_path, epochs):
    run(tmp_path, parts(tiny_policy, reward=pctr()), config=replace(TINY, online_epochs=epochs))
    shown = [
        sum(
            len(feedback.ads) for feedback in jsonl.read(Feedback, tmp_path / f"epoch-0{t}" / "online" / "clicks.jsonl")
        )
        for t in (1, 2)
    ]
    learned = [sum(metrics["pctr"]["rows"].values()) for metrics in read_result(tmp_path)["metrics"][1:]]
    assert learned == [shown[0], sum(shown[-epochs:])]
    fits = [json.loads((tmp_path / f"epoch-0{t}" / "pctr" / "fit.json").read_text()) for t in (1, 2)]
    assert [fit["warm"] for fit in fits] == [False, epochs == 1]  # anew, as long as all clicks are there


def test_the_oracle_collects_and_learns_nothing(tiny_policy, tmp_path):
    ran = run(tmp_path, parts(tiny_policy), config=replace(TINY, epochs=1))
    assert [name for epoch, name, _ in ran if epoch == 1] == STAGES[2:]
    assert read_result(tmp_path)["metrics"][0]["test"]["reward_predicted"] is not None


def test_online_rl_trains_on_the_same_rewards_and_goes_on_stage_by_stage(tiny_policy, tmp_path):
    config, made = replace(TINY, algorithm="grpo"), parts(tiny_policy)
    ran = run(tmp_path / "whole", made, config=config)
    assert [name for epoch, name, _ in ran if epoch == 1] == ["offline", "grpo", "test", "metrics"]
    result = read_result(tmp_path / "whole")
    assert (result["policy"], result["stopped"]) == ("epoch-02/policy", None)
    before, _, last = result["metrics"]
    assert before["test"].keys() == last["test"].keys()
    assert (last["grpo"]["steps"], last["kl"]["answers"]) == (TINY.offline_queries // 2, TINY.kl_queries)
    assert not {"dpo", "pairs"} & last.keys()

    epoch = tmp_path / "whole" / "epoch-01"
    auctions = {auction.query_id: auction for auction in jsonl.read(Auction, epoch / "offline" / "auctions.jsonl")}
    queries = {query.id: query for query in QUERIES}
    rows = list(jsonl.read(ScoredResponse, epoch / "grpo" / "scored.jsonl"))
    assert len(rows) == 2 * 2 * TINY.compared
    exposures = [
        Exposure(
            PEOPLE[queries[row.query_id].profile_id], queries[row.query_id], auctions[row.query_id],
            Response(row.query_id, row.sample, row.text, row.tokens, row.finished),
        )
        for row in rows
    ]  # fmt: skip
    wanted = score_many(exposures, ads=ADS, predictor=Oracle(user()))
    assert [row.reward for row in rows] == [one.reward for one in wanted]
    assert len({row.reward for row in rows}) > 3
    asked = json.loads((tmp_path / "whole" / "manifest.json").read_text())["config"]
    assert asked.keys() & {"dpo", "grpo", "algorithm"} == {"grpo"}

    while read_result(tmp_path / "steps") is None:
        for stage in irpo(parts=made, config=config, seed=3, out=tmp_path / "steps", resume=True):
            if stage.ran:
                break
    assert content(tmp_path / "steps") == content(tmp_path / "whole")
    with pytest.raises(RunRefused, match=r"config\.dpo is None there"):
        run(tmp_path / "whole", made, resume=True)


@pytest.mark.slow
def test_a_run_killed_at_many_points_ends_with_the_same_bytes(tiny_policy, tmp_path):
    calls = []
    made = parts(tiny_policy, reward=pctr())
    config = replace(TINY, epochs=1)
    run(tmp_path / "whole", made, config=config, progress=lambda *told: calls.append(told))
    wanted = content(tmp_path / "whole")
    assert len(calls) > 60
    for stop in range(1, len(calls), len(calls) // 8):
        left = iter(range(stop))

        def fall(*_, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt

        out = tmp_path / f"stop{stop}"
        with pytest.raises(KeyboardInterrupt):
            run(out, made, config=config, progress=fall)
        for torn in out.rglob("*.jsonl.part"):  # the last row was being written
            os.truncate(torn, max(0, torn.stat().st_size - stop % 40))
        run(out, made, config=config, resume=True)
        assert content(out) == wanted, f"stopped at {calls[stop]}"
        shutil.rmtree(out)


def test_one_stage_a_process_comes_to_the_same_end(tiny_policy, tmp_path):
    made = parts(tiny_policy)
    run(tmp_path / "whole", made)
    while read_result(tmp_path / "steps") is None:
        for stage in irpo(parts=made, config=TINY, seed=3, out=tmp_path / "steps", resume=True):
            if stage.ran:
                break
    assert content(tmp_path / "steps") == content(tmp_path / "whole")


def test_real_clicks_are_mixed_in_by_share_and_resume_with_the_same_bytes(tiny_policy, tmp_path):
    config, made = replace(TINY, epochs=1), replace(parts(tiny_policy, reward=pctr()), feedback=real_clicks(tmp_path))
    run(tmp_path / "whole", made, config=config)
    simulated = len(QUERIES) * 3 // 4 * config.online_samples
    mixed = read_result(tmp_path / "whole")["metrics"][1]["pctr"]["feedback"]
    assert (mixed["simulated"], mixed["real"], mixed["share"]) == (simulated, 12, 0.25)  # more were wanted
    asked = json.loads((tmp_path / "whole" / "manifest.json").read_text())["feedback"]
    assert asked == {"sha256": file_sha256(tmp_path / "feedback.jsonl"), "share": 0.25}
    assert "Ad-9" in json.loads((tmp_path / "whole" / "epoch-01" / "pctr" / "pctr.json").read_text())["ads"]

    ended = False
    while not ended:
        ended = True
        for stage in irpo(parts=made, config=config, seed=3, out=tmp_path / "steps", resume=True):
            if stage.ran:
                ended = False
                break
    assert content(tmp_path / "steps") == content(tmp_path / "whole")
    (tmp_path / "steps" / "result.json").unlink()
    with pytest.raises(RunRefused, match="feedback"):
        run(tmp_path / "steps", replace(made, feedback=None), config=config, resume=True)


def test_what_is_finished_is_not_done_again(tiny_policy, tmp_path):
    made = parts(tiny_policy)
    run(tmp_path, made)
    (tmp_path / "result.json").unlink()

    def nobody(policy):
        raise AssertionError("nothing is left to sample")

    ran = run(tmp_path, replace(made, sampler=nobody), resume=True)
    assert not any(done for _, _, done in ran)
    assert run(tmp_path, replace(made, sampler=nobody), resume=True) == []  # the run has ended


def test_a_changed_file_is_named(tiny_policy, tmp_path):
    made = parts(tiny_policy)
    run(tmp_path, made)
    (tmp_path / "result.json").unlink()
    (tmp_path / "epoch-01" / "groups.jsonl").write_text("")
    with pytest.raises(DataError, match=r"epoch-01/groups\.jsonl is not what the stage 'preferences' left"):
        run(tmp_path, made, resume=True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"resume": False}, "already holds this run"),
        ({"config": replace(TINY, samples=3)}, "config.samples is 2 there and 3 here"),
        ({"config": replace(TINY, dpo=replace(TINY.dpo, beta=0.2))}, "config.dpo.beta"),
    ],
)
def test_another_run_s_folder_is_refused(tiny_policy, tmp_path, changes, complaint):
    next(irpo(parts=parts(tiny_policy), config=TINY, seed=3, out=tmp_path))
    with pytest.raises(RunRefused, match=complaint):
        run(tmp_path, parts(tiny_policy), **{"resume": True} | changes)


def test_another_encoder_is_another_run(tiny_policy, tmp_path):
    next(irpo(parts=parts(tiny_policy), config=TINY, seed=3, out=tmp_path))
    with pytest.raises(RunRefused, match="encoder is 'hash-64' there and 'hash-32' here"):
        run(tmp_path, replace(parts(tiny_policy), encoder="hash-32"), resume=True)


def test_a_loss_that_is_no_number_keeps_the_last_good_policy(tiny_policy, tmp_path, monkeypatch):
    real = dpo.dpo_loss

    def poisoned(policy, reference, *, beta):
        loss, margins = real(policy, reference, beta=beta)
        return (loss * float("nan") if (tmp_path / "epoch-02").exists() else loss), margins

    monkeypatch.setattr(dpo, "dpo_loss", poisoned)
    run(tmp_path, parts(tiny_policy))
    result = read_result(tmp_path)
    assert (result["policy"], result["epochs"]) == ("epoch-01/policy", 1)
    assert "diverged in epoch 2: step 1" in result["stopped"]
    assert not (tmp_path / "epoch-02" / "policy").exists()
    dpo.load_policy(tmp_path / result["policy"])


def test_a_policy_that_stops_showing_ads_is_not_kept(tiny_policy, tmp_path):
    def sampler(policy):
        silent = policy != str(tiny_policy)
        return ScriptedSampler((lambda *asked: "Begin slowly. Then rest.") if silent else write_ads)

    run(tmp_path, parts(tiny_policy, sampler=sampler), config=replace(TINY, test_queries=15))
    result = read_result(tmp_path)
    assert result["policy"] == str(tiny_policy)
    assert result["stopped"].startswith("collapsed in epoch 1: 0 revenue an answer, after ")


def test_a_policy_whose_markers_break_is_not_kept(tiny_policy, tmp_path):
    def sampler(policy):
        broken = policy != str(tiny_policy)
        return ScriptedSampler(
            (lambda *asked: "@Mug 0@[Ad-1000] @Mug 2@[Ad-1002] @Mug 2@[Ad-1") if broken else write_ads
        )

    run(tmp_path, parts(tiny_policy, sampler=sampler), config=replace(TINY, test_queries=15))
    told = read_result(tmp_path)["stopped"]
    assert told.startswith("collapsed in epoch 1: ")
    assert " 1 of the answers with format errors, after 0." in told


def test_a_model_that_writes_nonsense_gives_no_pairs(tiny_policy, tmp_path):
    real = parts(tiny_policy, sampler=lambda policy: TransformersSampler(policy, device="cpu"))
    run(tmp_path, real)
    result = read_result(tmp_path)
    assert result["stopped"] == "no pairs in epoch 1: 0 of 10 auctions have winner and loser"
    assert (Path(result["policy"]), result["epochs"]) == (tiny_policy, 0)


def test_a_world_without_test_questions_is_refused(tiny_policy, tmp_path):
    world = replace(WORLD, queries=[query for query in QUERIES if query.split == "train"])
    with pytest.raises(DataError, match="both splits"):
        run(tmp_path, replace(parts(tiny_policy), world=world))


def test_manifest_names_the_policy_by_its_bytes(tiny_policy, tmp_path):
    next(irpo(parts=parts(tiny_policy), config=TINY, seed=3, out=tmp_path / "run"))
    copied = shutil.copytree(tiny_policy, tmp_path / "copy")
    run(tmp_path / "run", parts(copied), resume=True)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["policy"].keys() == {"model.safetensors"}


def test_a_policy_in_torch_s_own_format_is_named_by_its_bytes_too(tiny_policy, tmp_path):
    copied = shutil.copytree(tiny_policy, tmp_path / "copy")
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    next(irpo(parts=parts(copied), config=TINY, seed=3, out=tmp_path / "run"))
    assert str(tmp_path) not in (tmp_path / "run" / "manifest.json").read_text()
