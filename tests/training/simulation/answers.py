"""Alice, her question, a few ads and answers that show them."""

from training.dataset.records import Ad, Auction, Exposure, Profile, Query, Response

ALICE = Profile(id="u1", info="A nurse who works night shifts.", interests=("tea", "reading"), split="train")
QUERY = Query(id="q1", profile_id="u1", text="How do I brew better green tea?", split="train")
MUG = Ad("Ad-1", "Brewbright Blue Mug", "tea", "A mug that keeps green tea warm.")
LAMP = Ad("Ad-2", "Roomlark Reading Lamp", "reading", "A small lamp that clips onto a book.")
POT = Ad("Ad-3", "Leafmoor Glass Teapot", "tea", "A glass teapot for brewing loose green tea.")
SKIS = Ad("Ad-4", "Velorano Carving Skis", "skiing", "Skis for hard slopes.")
TYRE = Ad("Ad-5", "Velorano Winter Tyres", "car-care", "Tyres for icy roads.")
ADS = {ad.id: ad for ad in (MUG, LAMP, POT, SKIS, TYRE)}
AUCTION = Auction("q1", tuple(ADS), (70, 70, 70, 70, 70))


def marker(ad):
    return f"@{ad.title}@[{ad.id}]"


def response(text, *, sample=0):
    return Response("q1", sample, text, tokens=len(text.split()))


def exposure(text, *, profile=ALICE, query=QUERY, auction=AUCTION, sample=0):
    return Exposure(profile, query, auction, response(text, sample=sample))
