"""The benchmark of the parser tells linear time from quadratic, on a busy machine too."""

import json
from statistics import median

from django.core.management import call_command

from chat import benchmarking
from chat.adllm.markup import Parser


def measured(monkeypatch, capsys) -> dict:
    monkeypatch.setattr(benchmarking, "SIZES", benchmarking.SIZES[:3])
    call_command("benchmark", "markup", "--seconds", "0.5", "--rounds", "2", "--json")
    return json.loads(capsys.readouterr().out)


def test_every_text_is_measured_and_time_grows_with_its_length(monkeypatch, capsys):
    report = measured(monkeypatch, capsys)
    assert report["over_plain"].keys() == report["growth"].keys() == benchmarking.HOSTILE.keys()
    assert report["plain_microseconds"] > 0
    assert median(report["growth"].values()) < 1.5  # of a single text, that is for a quiet machine
    assert report["worst_growth"] >= max(report["growth"].values())


def test_a_parser_that_reads_all_again_is_found_out(monkeypatch, capsys):
    class Forgetful(Parser):
        text = ""

        def feed(self, text):
            self.text += text
            return sorted(self.text)

    monkeypatch.setattr(benchmarking, "Parser", Forgetful)
    monkeypatch.setattr(benchmarking, "HOSTILE", {"at signs": "@", "brackets": "[", "one word": "x"})
    assert median(measured(monkeypatch, capsys)["growth"].values()) > 1.5
