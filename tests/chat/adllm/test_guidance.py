import json

import pytest

from campaigns.auction.candidates import Candidate
from chat.adllm import markup
from chat.adllm.guidance import answer_grammar, marker

QUOTED = Candidate("Ad-2000", 'The "Best" Müg \\ Cup', 5_000_000)


def test_a_marker_is_what_markup_shows_as_the_ad():
    assert markup.parse(f"Take {marker(QUOTED)}.", [QUOTED]).ads == ("Ad-2000",)


def test_titles_are_quoted_in_the_grammar():
    rule = answer_grammar([marker(QUOTED)]).splitlines()[-1]
    assert rule.startswith('ad ::= "')
    assert json.loads(rule.removeprefix("ad ::= ")) == marker(QUOTED)[1:]


def test_without_candidates_no_marker_can_begin():
    grammar = answer_grammar([])
    assert "ad ::=" not in grammar
    assert '"@"' not in grammar


@pytest.mark.parametrize("count", [1, 100])
def test_each_marker_is_one_alternative(count):
    markers = [f"@Ad Number {n}@[Ad-{1000 + n}]" for n in range(count)]
    assert answer_grammar(markers).splitlines()[-1].count(" | ") == count - 1
