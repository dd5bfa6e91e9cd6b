"""The User-LLM as a judge of clicks (section 5.1, Appendix B.1): asks, reads what comes, counts what is wrong with it.

Nothing the judge writes is trusted: whatever it says, every shown ad gets exactly one verdict, and an ad without a
valid one is not clicked. Decoding is bound to a schema where the server can; what the schema promises is checked all
the same.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Any

from campaigns.auction.candidates import Candidate
from chat.adllm import markup
from training.dataset.records import Ad, AdFeedback, Auction, Exposure, Feedback, Profile, Query, Response
from training.simulation.prompts import click_prompt
from training.simulation.user_llm import UserLLM, UserLLMError

TEMPERATURE = 0.3  # App. B.2.1
RETRIES = 2
TRANSPORT = {"unavailable", "timeout"}  # kinds of UserLLMError that another try may mend
MAX_CHARS = 40_000  # 2,048 tokens (App. B.2.1) are far fewer
MAX_REASON = 300


class JudgeError(StrEnum):
    no_answer = "no_answer"  # no text came, after all retries
    too_long = "too_long"  # cut at MAX_CHARS
    prose = "prose"  # text before or after the JSON, a code fence included
    truncated = "truncated"  # the JSON begins well and then ends
    not_json = "not_json"  # none, or broken in the middle
    wrong_type = "wrong_type"  # no list, an item that is no object, a field of another type
    wrong_fields = "wrong_fields"  # a field too many, or no reason
    unknown_id = "unknown_id"  # an ad that the answer does not show
    duplicate = "duplicate"  # a second verdict on one ad; the first counts
    missing = "missing"  # no verdict on a shown ad


def feedback_schema(shown_ids: Sequence[str]) -> dict[str, Any]:
    """JSON schema: one verdict on each ad, in order. An engine that knows no prefixItems still holds to `items`."""

    def verdict(ad_id: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "ad_id": ad_id,
                "clicked": {"type": "boolean"},
                "reason": {"type": "string", "maxLength": MAX_REASON},
            },
            "required": ["ad_id", "clicked", "reason"],
            "additionalProperties": False,
        }

    return {
        "type": "array",
        "prefixItems": [verdict({"const": ad_id}) for ad_id in shown_ids],
        "items": verdict({"type": "string", "enum": list(shown_ids)}),
        "minItems": len(shown_ids),
        "maxItems": len(shown_ids),
    }


def parse_feedback(text: str, shown_ids: Sequence[str]) -> tuple[tuple[AdFeedback, ...], Counter[JudgeError]]:
    """Every shown ad once, in order, and what was wrong, by kind. Never raises; linear in the text's length."""
    errors: Counter[JudgeError] = Counter()
    known = set(shown_ids)
    verdicts: dict[str, tuple[bool, str]] = {}
    for item in _items(text, errors):
        if not isinstance(item, dict) or not isinstance(item.get("ad_id"), str):
            errors[JudgeError.wrong_type] += 1
            continue
        ad_id, clicked, reason = item["ad_id"], item.get("clicked"), item.get("reason", "")
        if item.keys() != {"ad_id", "clicked", "reason"}:
            errors[JudgeError.wrong_fields] += 1
        if not isinstance(clicked, bool) or not isinstance(reason, str):
            errors[JudgeError.wrong_type] += 1
        if ad_id not in known:
            errors[JudgeError.unknown_id] += 1
        elif ad_id in verdicts:
            errors[JudgeError.duplicate] += 1
        else:
            verdicts[ad_id] = (clicked is True, reason[:MAX_REASON] if isinstance(reason, str) else "")
    if missing := len(known) - len(verdicts):
        errors[JudgeError.missing] += missing
    feedback = []
    for position, ad_id in enumerate(shown_ids):
        clicked, reason = verdicts.get(ad_id, (False, ""))
        feedback.append(AdFeedback(ad_id=ad_id, position=position, clicked=clicked, reason=reason))
    return tuple(feedback), errors


_LIST = re.compile(r"\[\s*+[{\]]")
_GAP = re.compile(r"[\s,]*+")
_DECODER = json.JSONDecoder(strict=False)  # a bare tab in a reason is no harm; constrained decoding lets it pass
_BROKEN = (ValueError, RecursionError)  # no JSON, numbers of thousands of digits; thousands of brackets


def _items(text: str, errors: Counter[JudgeError]) -> list[Any]:
    """The members of the list in the text, as many as can be read."""
    if len(text) > MAX_CHARS:
        errors[JudgeError.too_long] += 1
        text = text[:MAX_CHARS]
    text = text.strip()
    # 1) As it should be: nothing but a list.
    try:
        return _members(_DECODER.decode(text), errors)
    except _BROKEN:
        pass
    # 2) A list with something around it.
    begin = _LIST.search(text)
    if begin is None:
        errors[JudgeError.truncated if text[:1] in ("[", "{") and _breaks_off(text) else JudgeError.not_json] += 1
        return []
    if begin.start():
        errors[JudgeError.prose] += 1
    try:
        members, end = _DECODER.raw_decode(text, begin.start())
    except _BROKEN:
        return _whole_objects(text, begin.end() - 1, errors)
    if text[end:].strip():
        errors[JudgeError.prose] += 1
    return members


def _members(value: Any, errors: Counter[JudgeError]) -> list[Any]:
    """The list itself, or the one list or verdict that a wrapping object holds."""
    if isinstance(value, list):
        return value
    errors[JudgeError.wrong_type] += 1
    if isinstance(value, dict):
        if "ad_id" in value:
            return [value]
        lists = [member for member in value.values() if isinstance(member, list)]
        return lists[0] if len(lists) == 1 else []
    return []


def _whole_objects(text: str, at: int, errors: Counter[JudgeError]) -> list[Any]:
    """The objects before the place where the list breaks off."""
    found = []
    while 0 <= at < len(text) and text[at] == "{":
        try:
            value, end = _DECODER.raw_decode(text, at)
        except _BROKEN:
            break
        found.append(value)
        at = _GAP.match(text, end).end()
    errors[JudgeError.truncated if at >= len(text) or _breaks_off(text) else JudgeError.not_json] += 1
    return found


def _breaks_off(text: str) -> bool:
    return text[-1] not in "]}`"


class UserLLMJudge:
    """A ClickModel that asks a User-LLM. Its sampling is the server's: `seed` is not used, equal calls may differ."""

    def __init__(self, llm: UserLLM, *, concurrency: int = 16) -> None:
        name = getattr(llm, "name", "user-llm")
        self.name = f"judge:{Path(name).name if Path(name).is_absolute() else name}"  # no path of this machine
        self._llm, self._concurrency = llm, concurrency

    def feedback(
        self,
        *,
        profile: Profile,
        query: Query,
        ads: Mapping[str, Ad],
        auction: Auction,
        response: Response,
        seed: int | str,
    ) -> Feedback:
        """See ClickModel. An answer without ads is not judged."""
        candidates = [Candidate(ad_id=ad_id, title=ads[ad_id].title, bid_micros=0) for ad_id in auction.ad_ids]
        shown = markup.parse(response.text, candidates, max_ads=len(candidates)).ads
        if not shown:
            return Feedback(query_id=response.query_id, sample=response.sample, ads=())
        text = self._ask(click_prompt(profile=profile, query=query.text, response=response.text), shown)
        if text is None:
            verdicts = tuple(AdFeedback(ad_id=ad_id, position=at, clicked=False) for at, ad_id in enumerate(shown))
            errors = Counter([JudgeError.no_answer])
        else:
            verdicts, errors = parse_feedback(text, shown)
        counted = {kind.value: errors[kind] for kind in JudgeError if errors[kind]}
        return Feedback(query_id=response.query_id, sample=response.sample, ads=verdicts, errors=counted)

    def feedback_many(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad], seed: int | str) -> list[Feedback]:
        """See ClickModel. Asks `concurrency` at a time, for a server that batches."""

        def one(exposure: Exposure) -> Feedback:
            return self.feedback(
                profile=exposure.profile,
                query=exposure.query,
                ads=ads,
                auction=exposure.auction,
                response=exposure.response,
                seed=seed,
            )

        with ThreadPoolExecutor(self._concurrency) as pool:
            return list(pool.map(one, exposures))

    def _ask(self, prompt: str, shown: Sequence[str]) -> str | None:
        for _ in range(1 + RETRIES):
            try:
                return self._llm.ask(prompt=prompt, schema=feedback_schema(shown), temperature=TEMPERATURE)
            except UserLLMError as error:
                if error.kind not in TRANSPORT:
                    break
        return None
