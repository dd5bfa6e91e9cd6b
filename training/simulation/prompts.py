"""The User-LLM prompts of the paper's Appendix B.1. Knows nothing of who answers them, nor of JSON schemas."""

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
