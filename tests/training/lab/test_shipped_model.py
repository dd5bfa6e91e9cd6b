import json

import pytest

torch = pytest.importorskip("torch")

from django.core.management import CommandError, call_command  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from chat.adllm import markup  # noqa: E402
from tests.training.lab.models import WEIGHTS  # noqa: E402
from training.dataset.artifacts import file_sha256  # noqa: E402
from training.lab import check, export  # noqa: E402
from training.lab.answers import is_on_topic  # noqa: E402
from training.lab.groups import Vocabulary  # noqa: E402
from training.simulation.transformers_sampler import TransformersSampler  # noqa: E402

IRPO = WEIGHTS.with_name("weights-irpo")


@pytest.mark.parametrize("folder", [WEIGHTS, IRPO])
def test_weights_fit_the_repository(folder):
    assert (folder / "model.safetensors").stat().st_size <= 16 * 1024 * 1024


def test_the_trained_model_is_the_one_its_manifest_tells_of_and_began_with_the_shipped_one():
    manifest = json.loads((IRPO / "manifest.json").read_text())
    assert file_sha256(IRPO / "model.safetensors") == manifest["sha256"]
    base = json.loads((WEIGHTS / "manifest.json").read_text())  # both had their bids smoothed afterwards
    assert base["smoothed_from"] == manifest["asked"]["policy"]["model.safetensors"]
    tables = [load_file(folder / "model.safetensors")["model.embed_tokens.weight"] for folder in (WEIGHTS, IRPO)]
    assert torch.equal(*tables)  # which the run left alone
    assert manifest["after"]["revenue_true_ctr"] > 2 * manifest["before"]["revenue_true_ctr"]


@pytest.mark.parametrize("folder", [WEIGHTS, IRPO])
def test_bids_look_like_those_near_them(folder):
    """A bid whose embedding stands apart is read as much higher or lower than it is (LOG.md, 2026-11-28)."""
    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].float()
    bids = table[torch.tensor(Vocabulary(AutoTokenizer.from_pretrained(folder)).bids)]
    cosines = torch.nn.functional.cosine_similarity(bids[:-1], bids[1:])
    assert len(cosines) == 99
    assert cosines.min() > 0.9


def test_generation_settings_sample_as_the_paper_does():
    settings = json.loads((WEIGHTS / "generation_config.json").read_text())
    assert (settings["do_sample"], settings["temperature"], settings["top_p"], settings["top_k"]) == (
        True,
        0.7,
        0.8,
        20,
    )


@pytest.fixture(scope="module")
def sampler():
    return TransformersSampler(WEIGHTS, device="cpu")


def figures_of(sampler, *, count, guided):
    cases = check.make_cases(count=count, seed=1)
    return check.judge(cases=cases, texts=list(check.write_answers(sampler=sampler, cases=cases, guided=guided)))


@pytest.fixture(scope="module")
def served(sampler):
    return figures_of(sampler, count=40, guided=True)


def test_as_the_site_serves_it_it_answers_on_topic_and_copies_unseen_titles(served):
    assert served["on_topic_answers"] >= 0.95
    assert (served["exact_markers"], served["format_errors"]) == (1.0, {})
    assert served["markers"] >= 20


def test_it_mostly_declines_what_it_does_not_know(sampler):
    cases = check.make_other_cases(count=40, seed=1)
    texts = list(check.write_answers(sampler=sampler, cases=cases, guided=True))
    assert check.declined(cases=cases, texts=texts) >= 0.5  # 0.125 of the weights before


@pytest.fixture(scope="module")
def free(sampler):
    return figures_of(sampler, count=40, guided=False)


@pytest.mark.xfail(strict=True, reason="left free, the weights that ship miss their target: LOG.md, 2026-11-28")
def test_left_free_it_answers_on_topic_and_copies_unseen_titles(free):
    assert free["on_topic_answers"] >= 0.95
    assert free["exact_markers"] >= 0.95


def test_left_free_it_reads_question_and_list_far_better_than_by_chance(free):
    assert free["on_topic_answers"] >= 0.5  # 0.02 by chance
    assert free["exact_markers"] >= 0.5  # 0.01 by chance
    assert free["markers"] >= 4


def test_the_served_generate_breaks_no_marker():
    model, tok = check.load_model(WEIGHTS, guided=True)
    cases = check.make_cases(count=6, seed=1)
    tok.padding_side = "left"
    prompts = tok.apply_chat_template(
        [case.messages for case in cases],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    torch.manual_seed(0)
    with torch.no_grad():
        written = model.generate(**prompts, max_new_tokens=check.MAX_TOKENS, tokenizer=tok)
    texts = tok.batch_decode(written[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
    figures = check.judge(cases=cases, texts=texts)
    assert figures["markers"] >= 2
    assert (figures["exact_markers"], figures["format_errors"]) == (1.0, {})


def test_the_folder_s_own_generate_is_the_project_s():
    assert (WEIGHTS / export.GENERATE).read_text() == export.OWN_GENERATE


def test_figures_count_markers_topics_and_errors():
    case = check.make_cases(count=1, candidates=5)[0]
    ad = case.ads[0]
    figures = check.judge(
        cases=[case, case], texts=[f"Take {ad.marker} now.", f"Take @{ad.candidate.title}@[Ad-1] now."]
    )
    assert (figures["exact_markers"], figures["markers"], figures["on_topic_answers"]) == (0.5, 2, 0.0)
    assert figures["format_errors"] == {markup.FormatError.unknown_id.value: 1}
    assert not is_on_topic("Take it.", category=case.question.category)


def test_only_an_honest_answer_without_ads_declines():
    cases = check.make_other_cases(count=4, candidates=3)
    assert {case.question.category for case in cases} == {None}
    honest = "I cannot answer that well, as I only know everyday topics. You could ask me about tea."
    texts = [honest, f"{honest} {cases[1].ads[0].marker}", "Take the bus.", ""]
    assert check.declined(cases=cases, texts=texts) == 0.25


@pytest.mark.parametrize(
    ("figures", "count"),
    [
        ({"exact_markers": 0.95, "on_topic_answers": 0.99, "first_token_s": 1.5, "answer_s": 2.0}, 0),  # all just met
        ({"exact_markers": 0.94}, 1),  # too many broken markers
        ({"first_token_s": 1.6, "answer_s": 9.0}, 2),  # slow twice
    ],
)
def test_missed_targets_are_named(figures, count):
    assert len(check.missed(figures)) == count


def test_check_names_the_command_that_builds_a_missing_model(tmp_path):
    with pytest.raises(CommandError, match="build_lab_model"):
        call_command("check_lab_model", "--model", str(tmp_path))


def test_commands_build_and_check_a_tiny_model(tmp_path, capsys):
    arguments = ("build_lab_model", "--preset", "tiny", "--out", str(tmp_path / "model"), "--threads", "1")
    for name in ("--steps", "--words"):
        with pytest.raises(CommandError, match=f"{name} must be at least 1, not 0"):
            call_command(*arguments, name, "0")
    call_command(*arguments, "--steps", "3", "--words", "2")
    assert json.loads((tmp_path / "model" / "manifest.json").read_text())["steps"] == 7
    with pytest.raises(CommandError, match="--steps must be at least 0, not -1"):
        call_command(*arguments, "--start", str(tmp_path / "model"), "--steps", "-1")
    capsys.readouterr()
    with pytest.raises(CommandError, match="the target is"):
        call_command(
            "check_lab_model", "--model", str(tmp_path / "model"), "--questions", "2", "--candidates", "5", "--json"
        )
    figures = json.loads(capsys.readouterr().out)
    assert figures["questions"] == figures["free"]["questions"] == 2
