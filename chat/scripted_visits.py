"""Scripted answers for simulated visitors where no model server runs: quick, seeded, as careless as a model.

They say that they are scripted, and are kept apart by a model version of their own. Knows nothing of clicks.
"""

import json
import random
from collections.abc import Mapping

from campaigns.auction.categories import CATEGORIES
from campaigns.models import Ad
from chat import registry
from chat.adllm.engine import Messages
from chat.adllm.prompts import ANSWER, QUESTION, REQUIREMENTS
from chat.adllm.scripted_engine import ScriptedEngine
from chat.models import ModelVersion

ADS_WANTED = (0, 1, 2, 3, 4)
ADS_WEIGHTS = (2, 8, 6, 3, 1)
ON_TOPIC = 0.75  # of the ads, where the auction has one on the topic
BROKEN = 0.03  # of the markers
PHRASES = (
    "Many people use {} for this.",
    "If you need something for it, look at {}.",
    "A good place to begin is {}.",
    "Some also like {}.",
)


def scripted_version() -> ModelVersion:
    return registry.register(base_url="scripted:", model="scripted", name="scripted answers")


def scripted_engine(*, seed: int, topics: Mapping[str, str]) -> ScriptedEngine:
    """`topics` gives the category of each question that may come."""
    ad_categories = dict(Ad.objects.values_list("public_id", "category"))

    def answer(messages: Messages) -> str:
        prompt = messages[0]["content"]
        question = prompt.rpartition(QUESTION)[2].removesuffix(ANSWER)
        lines = prompt.partition(REQUIREMENTS)[0].splitlines()
        ads = [json.loads(line) for line in lines if line.startswith('{"Ad ID"')]
        rng = random.Random(f"{seed}:{question}:{len(ads)}")
        topic = topics.get(question, "")
        on_topic = [ad for ad in ads if ad_categories.get(ad["Ad ID"]) == topic]
        sentences = [f"{CATEGORIES.get(topic, 'This')} is worth doing well: go step by step and see what helps."]
        for _ in range(rng.choices(ADS_WANTED, ADS_WEIGHTS)[0] if ads else 0):
            ad = rng.choice(on_topic if on_topic and rng.random() < ON_TOPIC else ads)
            marker = f"@{ad['Ad Title']}@[{ad['Ad ID']}]"
            sentences.append(rng.choice(PHRASES).format(marker[:-1] if rng.random() < BROKEN else marker))
        sentences.append("(A scripted answer for the demonstration; no language model wrote it.)")
        return " ".join(sentences)

    return ScriptedEngine(answer, name="scripted", chunk_size=64)
