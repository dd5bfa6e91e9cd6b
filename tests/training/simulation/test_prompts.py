import pytest

from training.dataset.records import Profile
from training.simulation.prompts import query_prompt

ALICE = Profile(id="u1", info="A 34-year-old nurse.", interests=("tea", "running"), split="train")


@pytest.mark.parametrize(
    "words",
    [  # the paper's own, Appendix B.1
        "# Role\nYou are a user of an AI assistant product, using it to acquire information, seek product "
        "recommendations, or make shopping decisions. Below is your personal information:\n",
        "## Basic Information: A 34-year-old nurse.\n## Personal Interests: tea, running\n",
        "# Task\nBased on your basic information and personal interests, ask the AI assistant 5 questions.\n",
        "1. The questions should be distinct, addressing your different potential needs, while having direct or "
        "indirect connections to your identity information and personal interests.\n",
        "2. The questions should not involve sensitive, pornographic, or unsafe content.\n# Output Examples\n",
    ],
)
def test_query_prompt_is_the_papers(words):
    assert words in query_prompt(profile=ALICE, num_queries=5)


def test_query_prompt_ends_where_the_user_begins():
    assert query_prompt(profile=ALICE, num_queries=5).endswith("]\nPlease ask your questions:")
