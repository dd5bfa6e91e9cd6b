"""How large a simulation is: tiny for tests, lab for minutes on two cores, paper as in the paper."""

from dataclasses import dataclass

from training.simulation.sampling import SamplingSettings

PAPER_MODEL = "Qwen/Qwen3-4B-Instruct-2507"  # App. B.2.1, for Ad-LLM and User-LLM


@dataclass(frozen=True)
class Preset:
    """`num_profiles` users with `num_queries` questions each make the world; `queries` of them are asked.

    An empty `model` is the lab Ad-LLM.
    """

    name: str
    num_profiles: int
    num_queries: int
    queries: int
    samples: int
    sampling: SamplingSettings
    engine: str = "transformers"
    model: str = ""
    clicks: str = "behavioural"
    user_llm: str = ""


TINY = Preset("tiny", num_profiles=10, num_queries=2, queries=6, samples=2, sampling=SamplingSettings(max_tokens=200))
LAB = Preset("lab", num_profiles=3000, num_queries=5, queries=300, samples=5, sampling=SamplingSettings(max_tokens=400))
PAPER = Preset(
    "paper",
    num_profiles=3000,  # section 5.2.1
    num_queries=5,
    queries=15_000,
    samples=10,  # section 5.2.3
    sampling=SamplingSettings(),  # App. B.2.1
    engine="vllm",
    model=PAPER_MODEL,
    clicks="user-llm",
    user_llm=PAPER_MODEL,
)
PRESETS = {preset.name: preset for preset in (TINY, LAB, PAPER)}
