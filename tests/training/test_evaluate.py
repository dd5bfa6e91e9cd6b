import json

import pytest
from django.core.management import CommandError, call_command

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def command(tmp_path, model, *more):
    return (
        "evaluate", "--preset", "tiny", "--out", str(tmp_path / "evaluation"), "--policy", f"base={model}",
        "--policy", f"guided={model}", "--guided", "guided", "--questions", "2", "--max-tokens", "12",
        "--seeds", "0", "1", "--clicks", "held-out", "--threads", "1", *more,
    )  # fmt: skip


def test_policies_are_compared_and_bids_swept(tmp_path, tiny_model, capsys):
    call_command(*command(tmp_path, tiny_model, "--sweep", "1", "--json"))
    found = json.loads(capsys.readouterr().out)
    assert found["models"] == {
        "base": {"model": str(tiny_model), "guided": False},
        "guided": {"model": str(tiny_model), "guided": True},
    }
    assert (found["answers"], found["clicks"], found["seeds"]) == (4, "held-out", [0, 1])
    assert found["policies"]["guided"]["share_with_format_error"]["mean"] == 0
    assert [row["bid"] for row in found["sweep"]["base"]["bids"]][:2] == [1, 10]
    assert json.loads((tmp_path / "evaluation" / "result.json").read_text()) == found
    with pytest.raises(CommandError, match="already holds this run"):
        call_command(*command(tmp_path, tiny_model))
    call_command(*command(tmp_path, tiny_model, "--sweep", "1", "--resume"))
    told = capsys.readouterr().out
    assert "4 answers to" in told
    assert "guided: expected_clicks by bid: 1: 0" in told


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--policy", "base=elsewhere"), "given twice"),
        (("--policy", "elsewhere"), "NAME=MODEL"),
        (("--policy", "../up=elsewhere"), "NAME=MODEL"),
        (("--guided", "other"), "no such --policy"),
        (("--questions", "0"), "at least 1"),
        (("--policy", "other=no-such-folder/at-all"), "No model could be loaded"),
    ],
)
def test_bad_input_is_named(tmp_path, tiny_model, more, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command(*command(tmp_path, tiny_model, *more))
