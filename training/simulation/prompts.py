"""The User-LLM prompts of the paper's Appendix B.1. Knows nothing of who answers them, nor of JSON schemas."""

from chat.adllm.prompts import plain
from training.dataset.records import Profile

# The paper leaves its demonstration out; this one only shows the form: a JSON list.
QUERY_DEMONSTRATION = (
    '["How do I keep basil alive on a kitchen window?", "Which is better for small feet, a narrow or a wide boot?"]'
)


def query_prompt(*, profile: Profile, num_queries: int, demonstration: str = QUERY_DEMONSTRATION) -> str:
    """Ask the User-LLM for the questions of one user (Appendix B.1, user query generation)."""
    return f"""# Role
You are a user of an AI assistant product, using it to acquire information, seek product recommendations, or make \
shopping decisions. Below is your personal information:
## Basic Information: {profile.info}
## Personal Interests: {", ".join(profile.interests)}
# Task
Based on your basic information and personal interests, ask the AI assistant {num_queries} questions.
# Requirements
1. The questions should be distinct, addressing your different potential needs, while having direct or indirect \
connections to your identity information and personal interests.
2. The questions should not involve sensitive, pornographic, or unsafe content.
# Output Examples
{demonstration}
Please ask your questions:"""


# The paper leaves its demonstration out; these only show the form.
CLICK_DEMONSTRATION = (
    '[{"ad_id": "Ad-0001", "clicked": true, "reason": "It fits my question and the advice around it."}, '
    '{"ad_id": "Ad-0002", "clicked": false, "reason": "It has nothing to do with my question."}]'
)


def click_prompt(*, profile: Profile, query: str, response: str, demonstration: str = CLICK_DEMONSTRATION) -> str:
    """Ask the User-LLM which of the ads in an answer it clicks (Appendix B.1, user click feedback).

    `response` is the Ad-LLM's text as written, markers included; chat-template tokens in it are made harmless.
    """
    return f"""# Role
You are a real user, using an AI assistant to acquire information, seek product recommendations, or make shopping \
decisions. Below is your personal information:
## Basic Information: {plain(profile.info)}
## Personal Interests: {plain(", ".join(profile.interests))}
# Task
Read the answer from the AI assistant to your question. The answer might contain ads inserted in the format \
"@Ad Title@[Ad ID]". If there are ads, please provide your click behavior as a real user.
# Requirements
1. Based primarily on your question, and also considering your identity and personal interests, realistically reflect \
on your click behavior after seeing ads inserted as "@Ad Title@[Ad ID]". Note that you can choose not to click any ad, \
or click one or more ads.
2. The decision to click can consider these aspects:
(1) Relevance: The direct or indirect relevance to your question, and how well it matches your identity and personal \
interests.
(2) Nativeness: How well the ad integrates with the answer's context. You are more likely to click ads with better \
nativity. If it's a hard ad that disrupts the native feel of the answer or is an incoherent insertion, you will choose \
not to click.
(3) Competitiveness: Whether there are similar or competing ads in the answer. If so, your attention will be divided; \
please click only one ad or none at all.
3. Please simulate the user's experience after seeing the AI assistant's answer. If the answer (1) is flooded with too \
many ads or (2) contains a lot of irrelevant text related to ad insertion, this will severely damage the user \
experience. In this case, do not click any ads.
4. Please provide click feedback for ALL ads inserted in the format "@Ad Title@[Ad ID]" (Ad Title is text, Ad ID is \
like Ad-XXXX). Do not miss any or duplicate.
5. Output the result in a strict JSON list format, with no extra information. The fields are:
- ad_id: Ad ID (string)
- clicked: Whether clicked (boolean: true / false)
- reason: Reason (string, concise and clear).
If there are no ads in the answer, return an empty list "[]".
# Output Example
{demonstration}
# Your Question:
{plain(query)}
## AI Assistant's Answer
{plain(response)}
Your click feedback is:"""
