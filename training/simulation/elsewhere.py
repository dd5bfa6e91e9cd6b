"""Questions about none of the 50 categories, to which no ad fits. Knows no user and no ad.

Test users ask in forms and about subjects of their own.
"""

import random

_PLACES = (
    "France",
    "Japan",
    "Brazil",
    "Canada",
    "Kenya",
    "Norway",
    "India",
    "Peru",
    "Egypt",
    "Poland",
    "Chile",
    "Germany",
    "Texas",
    "Australia",
    "Spain",
    "Vietnam",
    "Mexico",
    "Turkey",
    "Iceland",
    "Ghana",
)
_SUBJECTS = (
    "the French Revolution",
    "photosynthesis",
    "plate tectonics",
    "the Roman Empire",
    "the electoral system",
    "black holes",
    "the human immune system",
    "quantum mechanics",
    "the Industrial Revolution",
    "volcanoes",
    "the water cycle",
    "ancient Egypt",
    "evolution",
    "the solar system",
    "the Cold War",
    "electricity",
    "the theory of relativity",
    "the Vikings",
    "how laws are made",
    "the speed of light",
    "tides",
    "the ozone layer",
    "the printing press",
    "the Silk Road",
)
_HELD_OUT_SUBJECTS = (
    "gravity",
    "the Middle Ages",
    "genes",
    "the moon landing",
    "earthquakes",
    "the ice age",
    "the Olympic flame",
    "dinosaurs",
    "the periodic table",
    "magnetism",
)
_FORMS = (
    "What is the capital of {x}?",
    "Who is the president of {x}?",
    "What is the population of {x}?",
    "What languages are spoken in {x}?",
    "What is the weather in {x} today?",
    "What is {n} times {m}?",
    "Convert {n} miles to kilometres.",
    "What is the square root of {n}?",
    "Explain {s} to me.",
    "Why does {s} matter?",
    "Write a short summary of {s}.",
    "What caused {s}?",
    "My son has to give a talk about {s}. What are the main points?",
    "Who won the last election in {x}?",
    "How many people speak the main language of {x}?",
    "Write a poem about the moon for a {n}th birthday.",
    "Write a Python function that counts to {n}.",
    "Is {n} a prime number?",
    "What day of the week was it {n} days ago?",
    "How do I say good morning to somebody from {x}?",
)
_HELD_OUT_FORMS = (
    "Which river flows through the capital of {x}?",
    "When did {x} become independent?",
    "How many neighbours does {x} have?",
    "What does the flag of {x} look like?",
    "What is the highest mountain of {x}?",
    "Which parties are in the parliament of {x}?",
    "Tell me three facts about {s}.",
    "How would you explain {s} to a ten-year-old?",
    "Where can I read up on {s}?",
    "What is {n} divided by {m}?",
    "Write {n} in Roman numerals.",
    "How many seconds are {n} hours?",
    "Write a limerick about the number {n}.",
)
_GREETINGS = ("Hello", "Hi!", "Good evening", "Who are you?", "What can you do?", "Tell me a joke.")
_HELD_OUT_GREETINGS = ("Good afternoon", "How are you today?", "Are you a robot?", "Sing me something.")


def question(rng: random.Random, *, held_out: bool) -> str:
    """One question; a few only greet."""
    forms, subjects, greetings = (
        (_HELD_OUT_FORMS, _HELD_OUT_SUBJECTS, _HELD_OUT_GREETINGS) if held_out else (_FORMS, _SUBJECTS, _GREETINGS)
    )
    if rng.random() < 0.02:
        return rng.choice(greetings)
    return rng.choice(forms).format(
        x=rng.choice(_PLACES), s=rng.choice(subjects), n=rng.randint(2, 999), m=rng.randint(2, 99)
    )
