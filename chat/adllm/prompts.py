"""The Ad-LLM prompt of the paper's Appendix B.1, for every model alike. Knows nothing of Django or of a tokenizer.

The template is split where its variables stand, so that a tokenizer may fold the constant parts (training/lab does).
"""

import json
import re
from collections.abc import Sequence

from campaigns.auction.candidates import Candidate, format_micros

ROLE_AND_TASK = """# Role
You are an AI assistant with advertising and marketing capabilities. You need to provide useful answers to user's \
question while also inserting ads when appropriate.
# Task
In the process of answering a question, when the user's question is suitable for ad insertion, you can combine the \
provided JSON-format candidate ad list and the user profile to naturally insert ad content at an appropriate position, \
to maximize user experience and ad revenue.
# Candidate Ad List
"""

REQUIREMENTS = """# Requirements
1. You can choose not to insert an ad, or insert one or more ads. Note that ads must be inserted in the format \
"@Ad Title@[Ad ID]". The ad title and ad ID must strictly follow the candidate ad list. Severe penalties will be applied \
for incorrect insertion format or incorrect ad-related information.
2. When an inserted ad is clicked by the user, you will receive revenue proportional to the ad's bid. However, the more \
ads you insert, the lower the user experience. Therefore, you need to balance these two aspects to achieve maximum social \
welfare. Obviously, if the user's question is not suitable for ad insertion or there are no suitable candidate ads, do \
not insert any ad is the best choice.
3. When inserting an ad, the ad title part cannot be modified. However, you can adjust the context around the ad \
insertion position in your answer to make the ad content more natural and increase the probability of user clicks.
4. Your role is an AI assistant, so the most important thing is to answer the user's question and ensure a good user \
experience. Then, at the right time and in the right way, insert a suitable ad. Note that even when inserting ads, you \
must maintain the quality of the overall answer. Do not include any thought process related to the ad insertion process \
in the final answer.
# Ad Insertion Examples
## Correct Examples
Water the balcony early, before the sun reaches the pots. A long spout such as @Fernlight Watering Can@[Ad-0001] puts \
the water at the roots and keeps the leaves dry.
## Incorrect Examples
Water the balcony early. @Fernlight Can@[Ad-0001] (the title was changed)
Water the balcony early. @Fernlight Watering Can@ [1] (the ad ID is missing)
# User Profile
"""

QUESTION = "\n# User Question\n"
ANSWER = "\nYour Answer:"

NO_CANDIDATES = "(no candidate ads)\n"
NO_PROFILE = "Unknown"

_CHAT_TOKEN = re.compile(r"<\|([^|<>]{0,64})\|>")


def plain(text: str) -> str:
    """User or advertiser text with chat-template tokens such as <|im_start|> made harmless."""
    return _CHAT_TOKEN.sub(r"< \1 >", text)


def candidate_line(candidate: Candidate) -> str:
    """One JSON line of the candidate list: ID, title and bid, nothing else (Appendix B.1)."""
    fields = {
        "Ad ID": candidate.ad_id,
        "Ad Title": plain(candidate.title),
        "Ad Bid": format_micros(candidate.bid_micros),
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"


def ad_prompt(*, query: str, profile: str, candidates: Sequence[Candidate]) -> str:
    """The whole prompt. Candidates stand in the order given: stable in serving, shuffled in training."""
    ads = "".join(candidate_line(c) for c in candidates) or NO_CANDIDATES
    return ROLE_AND_TASK + ads + REQUIREMENTS + (plain(profile) or NO_PROFILE) + QUESTION + plain(query) + ANSWER


def ad_messages(*, query: str, profile: str, candidates: Sequence[Candidate]) -> list[dict[str, str]]:
    """The prompt as chat messages: one user turn, as in the paper."""
    return [{"role": "user", "content": ad_prompt(query=query, profile=profile, candidates=candidates)}]
