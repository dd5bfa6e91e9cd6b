import json
import shutil

import pytest
from django.core.management import CommandError, call_command

pytest.importorskip("torch")
pytest.importorskip("trl")

TINY = ("run_irpo", "--preset", "tiny", "--reward", "oracle", "--threads", "1")


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_tiny_preset_trains_a_model_made_on_the_fly(tmp_path, capsys):
    command = (*TINY, "--out", str(tmp_path / "run"), "--json")
    call_command(*command)
    result = json.loads(capsys.readouterr().out)
    assert (result["policy"], result["stopped"]) == ("epoch-02/policy", None)
    assert [metrics["epoch"] for metrics in result["metrics"]] == [0, 1, 2]
    assert (tmp_path / "run" / "epoch-02" / "policy" / "model.safetensors").exists()
    with pytest.raises(CommandError, match="already holds this run"):
        call_command(*command)
    call_command(*command, "--resume")
    assert json.loads(capsys.readouterr().out) == result


def test_grpo_trains_the_same_model_and_its_result_ships(tmp_path, capsys):
    command = (*TINY, "--out", str(tmp_path / "run"), "--algorithm", "grpo", "--epochs", "1")
    call_command(*command)
    told = capsys.readouterr().out
    assert "the same command with --resume --ship" in told
    assert f"The policy to keep: {tmp_path / 'run' / 'epoch-01' / 'policy'}" in told
    call_command(*command, "--resume", "--ship", str(tmp_path / "shipped"))
    assert f"Shipped: {tmp_path / 'shipped'}" in capsys.readouterr().out
    assert (tmp_path / "shipped" / "README.md").exists()


def test_one_stage_at_a_time_and_own_ads_and_questions(tmp_path, capsys):
    ads, queries = tmp_path / "ads.jsonl", tmp_path / "queries.jsonl"
    ads.write_text('{"id": "Ad-4000", "title": "Acme Mug"}\n{"id": "Ad-4001", "title": "Zenith Kettle"}\n')
    queries.write_text("".join(f'{{"text": "Which mug is best for tea {n}?"}}\n' for n in range(20)))
    command = (*TINY, "--out", str(tmp_path / "run"), "--ads", str(ads), "--queries", str(queries), "--epochs", "1")
    call_command(*command, "--one-stage")
    assert sorted(json.loads((tmp_path / "run" / "epoch-00" / "manifest.json").read_text())) == ["test"]
    assert "Acme Mug" in (tmp_path / "run" / "epoch-00" / "test" / "summary.json").read_text()
    call_command(*command, "--one-stage", "--resume")
    assert "metrics" in json.loads((tmp_path / "run" / "epoch-00" / "manifest.json").read_text())
    assert not (tmp_path / "run" / "epoch-01").exists()
    call_command(*command, "--resume")
    told = capsys.readouterr().out
    assert f"The policy to keep: {tmp_path / 'run' / 'epoch-01' / 'policy'}" in told
    shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--epochs", "0"), "epochs must be at least 1"),
        (("--learning-rate", "-1"), "learning_rate must be above 0"),
        (("--world", "none", "--ads", "a"), "brings its own ads"),
        (("--feedback", "f.jsonl"), "go together"),
        (("--algorithm", "grpo", "--launch", "torchrun"), "trains in one: leave it out"),
        (("--feedback", "f.jsonl", "--feedback-share", "0.1"), "--reward oracle has none"),
        (("--reward", "pctr", "--feedback", "f.jsonl", "--feedback-share", "1"), "must lie between 0 and 1"),
        (("--reward", "pctr", "--feedback", "f.jsonl", "--feedback-share", "0.1"), r"f\.jsonl: .*No such file"),
        (("--world", "none"), "holds no finished world"),
        (("--queries", "none.jsonl"), r"none\.jsonl"),
        (("--clicks", "user-llm", "--reward", "pctr"), "needs --user-llm"),
        (("--clicks", "user-llm", "--user-llm", "x", "--user-llm-base-url", "http://x"), "needs a user whose chances"),
        (("--preset", "lab", "--model", "nowhere"), "No model could be loaded"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=complaint) as error:
        call_command(*TINY, "--out", str(tmp_path / "run"), "--engine", "transformers", *arguments)
    assert "\n" not in str(error.value)
