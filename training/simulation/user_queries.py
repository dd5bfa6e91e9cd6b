"""The User-LLM as the source of questions (Appendix B.1). Nothing it writes is trusted; knows no files.

What comes for a user is taken whole or asked again, at most twice. A user whose questions never came right is left
without; a server that does not answer at all ends the run, which can go on later.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

from campaigns.auction.validation import MAX_QUERY_LENGTH, InvalidInput, clean_query
from training.simulation.profiles import Person
from training.simulation.prompts import query_prompt
from training.simulation.queries import Asked, normal
from training.simulation.user_llm import UserLLM, UserLLMError

TEMPERATURE = 0.7  # the paper gives one for clicks only; this is the Ad-LLM's, App. B.2.1
RETRIES = 2
SHORTEST = 3  # characters


class Fault(StrEnum):
    """What can be wrong with a list of questions."""

    not_json = "not_json"
    not_a_list = "not_a_list"
    wrong_count = "wrong_count"
    not_text = "not_text"
    too_short = "too_short"
    too_long = "too_long"
    repeated = "repeated"


class BadQuestions(ValueError):
    """The User-LLM's text is no list of questions."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.value)


def query_schema(num_queries: int) -> dict[str, object]:
    """JSON schema of the answer: a list of `num_queries` strings."""
    item = {"type": "string", "minLength": SHORTEST, "maxLength": MAX_QUERY_LENGTH}
    return {"type": "array", "items": item, "minItems": num_queries, "maxItems": num_queries}


def parse_questions(text: str, *, num_queries: int) -> tuple[str, ...]:
    """The questions, cleaned, each on one line. Prose or a fence around the list is ignored. Raises BadQuestions."""
    try:
        start = text.index("[")
        found = json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            raise BadQuestions(Fault.not_json) from None
        raise BadQuestions(Fault.not_a_list) from None
    if len(found) != num_queries:
        raise BadQuestions(Fault.wrong_count)
    questions = tuple(map(_question, found))
    if len({normal(question) for question in questions}) < num_queries:
        raise BadQuestions(Fault.repeated)
    return questions


def _question(item: object) -> str:
    if not isinstance(item, str):
        raise BadQuestions(Fault.not_text)
    try:
        question = " ".join(clean_query(item, max_length=10**9).split())
    except InvalidInput:
        raise BadQuestions(Fault.too_short) from None
    if len(question) < SHORTEST or not normal(question):
        raise BadQuestions(Fault.too_short)
    if len(question) > MAX_QUERY_LENGTH:
        raise BadQuestions(Fault.too_long)
    return question


class UserLLMQueries:
    """Questions that a User-LLM writes, `concurrency` users at a time."""

    name = "user-llm"

    def __init__(self, *, user_llm: UserLLM, model: str, concurrency: int = 8) -> None:
        self.model = model
        self._user_llm = user_llm
        self._concurrency = concurrency

    def questions(self, people: Sequence[Person], *, num_queries: int, skip: int = 0) -> Iterator[Asked]:
        """As in QuerySource. Raises UserLLMError when the server refuses, or fails three times for one user."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            for start in range(skip, len(people), group := self._concurrency * 2):
                asking = people[start : start + group]
                yield from pool.map(lambda person: self._ask(person, num_queries), asking)

    def notes(self) -> dict[str, object]:
        """Did the server take the JSON schema (whether it kept to it is another question), or only the words?"""
        taken = getattr(self._user_llm, "takes_response_format", None)
        return {"response_format": "taken" if taken else "refused", "temperature": TEMPERATURE}

    def _ask(self, person: Person, num_queries: int) -> Asked:
        prompt = query_prompt(profile=person.profile, num_queries=num_queries)
        errors: Counter[str] = Counter()
        for attempt in range(1 + RETRIES):
            try:
                text = self._user_llm.ask(prompt=prompt, schema=query_schema(num_queries), temperature=TEMPERATURE)
                texts = parse_questions(text, num_queries=num_queries)
            except UserLLMError as error:
                if error.kind == "refused" or (attempt == RETRIES and error.kind != "empty"):
                    raise  # nobody else would be answered either
                errors[error.kind] += 1
            except BadQuestions as error:
                errors[error.fault.value] += 1
            else:
                return Asked(person.profile.id, texts, errors=dict(errors))
        return Asked(person.profile.id, (), errors=dict(errors))
