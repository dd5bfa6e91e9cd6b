"""Which letters look alike. Knows nothing of titles or of who wrote them.

A small table of our own for the scripts people copy Latin brand names with: Cyrillic, Greek, Cherokee, Lisu, Armenian
and Latin's own small capitals. What compatibility normalisation already folds (full-width, mathematical, circled
letters, accents) is not repeated here.
"""

import unicodedata

# Read by column: each character below looks like the Latin letter above it.
_CAPITALS = [
    # Cyrillic
    ("ABEZKMHOPCTYXSIJGVWLQ", "АВЕZКМНОРСТУХЅІЈԌѴԜӀԚ"),
    # Greek
    ("ABEZHIKMNOPTYXFJ", "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϜͿ"),
    # Cherokee
    ("ABCDEGHJKLMPRSTVWZY", "ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃᎽ"),
    # Lisu
    ("BPDTGKJCZFMNLSRVHWXYAEIOU", "ꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ"),
    # Armenian
    ("OSUL", "ՕՏՍԼ"),
]
_SMALL = [
    # Cyrillic
    ("abcehijkmnopqrstuvwxydgfe", "авсеһіјкмпорԛгѕтцѵԝхуԁԍғє"),
    ("lyhbeer", "ӏүньԑэґ"),
    # Greek
    ("abyeikvnopotuxwc", "αβγεικνηορστυχωϲ"),
    # Armenian
    ("onuhgqj", "օոսհցզյ"),
    # Latin's own: dotless and script letters, small capitals, strokes
    ("iagljovuz", "ıɑɡɩȷᴏᴠᴜᴢ"),
    ("abcdefghijklmnprstwy", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴘʀꜱᴛᴡʏ"),
    ("lodhtbi", "łøđħŧƀɨ"),
]
_WIDE = {"æ": "ae", "œ": "oe", "ӕ": "ae", "ƿ": "p", "þ": "p", "ƒ": "f", "ĸ": "k", "|": "l"}

# Shapes that even one script cannot keep apart: O and 0, I and l and 1.
_SAME_SHAPE = str.maketrans({"0": "o", "1": "l", "i": "l"})
_PAIRS = [("rn", "m"), ("vv", "w")]


def _columns(rows: list[tuple[str, str]]) -> dict[int, str]:
    table = {}
    for latin, lookalikes in rows:
        assert len(latin) == len(lookalikes), (latin, lookalikes)
        table.update({ord(lookalike): letter for letter, lookalike in zip(latin, lookalikes, strict=True)})
    return table


_CAPITAL_TABLE = _columns(_CAPITALS)
_SMALL_TABLE = _columns(_SMALL) | {ord(key): value for key, value in _WIDE.items()}
_DIACRITICS = [(0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F)]


def _is_diacritic(char: str) -> bool:
    """Accents that decorate a Latin, Greek or Cyrillic letter; vowel signs of other scripts are letters in effect."""
    return any(low <= ord(char) <= high for low, high in _DIACRITICS)


def _plain_digit(char: str) -> str:
    return str(unicodedata.decimal(char)) if char.isdecimal() else char


def fold_lookalikes(text: str) -> str:
    """The same string for texts that a hurried reader cannot tell apart.

    Case and accents are folded too. Not meant to be shown: "Milk" becomes "mllk".
    """
    text = "".join(_plain_digit(char) for char in unicodedata.normalize("NFKD", text) if not _is_diacritic(char))
    # Capitals first: Greek capital nu looks like N, but its small form looks like v.
    text = text.translate(_CAPITAL_TABLE).casefold().translate(_SMALL_TABLE).translate(_SAME_SHAPE)
    for pair, letter in _PAIRS:
        text = text.replace(pair, letter)
    return text
