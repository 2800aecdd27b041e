"""Text in the world's scripts: a few sentences, and random strings of each."""

from __future__ import annotations

import random
from collections.abc import Iterator

SCRIPTS = (
    "Plain English, isn't it? We'll see: 12345 apples and 3.14159!",
    "Zürich, façade, naïve, Ærø, Łódź, İstanbul, ﬁn, ǅ, ẞ",
    "Съешь ещё этих мягких французских булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "דג סקרן שט בים מע אכזבה نص عربي مختلط",
    "मैं काँच खा सकता हूँ; আমি কাঁচ; நான் கண்ணாடி; నేను గాజు; ഞാൻ; ಕನ್ನಡ; ગુજરાતી; ਪੰਜਾਬੀ; සිංහල",
    "ฉันกินกระจกได้ ຂ້ອຍ ខ្ញុំ မြန်မာ བོད་ཡིག",
    "いろはにほへと 日本語の文章、カタカナ。",
    "中文測試，简体与繁體",
    "한국어 문장도 있습니다",
    "ქართული հայերեն አማርኛ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🫠 ☺︎ \u200b\u200d\ufeff \U0010ffff",
    "  leading\t\ttabs \r\n\r\n lines \n\n\n   trailing   ",
    "def f(x):\n    return {'a': [1, 2, 3], \"b\": x ** 2}  # ok\n",
    "",
)
# First and last code points of what is most used of each; unassigned ones in between are as good as any.
BLOCKS = {
    "Latin": (0x41, 0x24F),
    "Latin, extended": (0x1E00, 0x1EFF),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x52F),
    "Armenian": (0x531, 0x58F),
    "Hebrew": (0x591, 0x5F4),
    "Arabic": (0x600, 0x6FF),
    "Syriac": (0x700, 0x74F),
    "Thaana": (0x780, 0x7B1),
    "N'Ko": (0x7C0, 0x7FF),
    "Devanagari": (0x900, 0x97F),
    "Bengali": (0x980, 0x9FE),
    "Gurmukhi": (0xA01, 0xA76),
    "Gujarati": (0xA81, 0xAFF),
    "Oriya": (0xB01, 0xB77),
    "Tamil": (0xB82, 0xBFA),
    "Telugu": (0xC00, 0xC7F),
    "Kannada": (0xC80, 0xCF3),
    "Malayalam": (0xD00, 0xD7F),
    "Sinhala": (0xD81, 0xDF4),
    "Thai": (0xE01, 0xE5B),
    "Lao": (0xE81, 0xEDF),
    "Tibetan": (0xF00, 0xFDA),
    "Myanmar": (0x1000, 0x109F),
    "Georgian": (0x10A0, 0x10FF),
    "Hangul, letters": (0x1100, 0x11FF),
    "Ethiopic": (0x1200, 0x137C),
    "Cherokee": (0x13A0, 0x13FD),
    "Canadian syllabics": (0x1400, 0x167F),
    "Khmer": (0x1780, 0x17F9),
    "Mongolian": (0x1800, 0x18AA),
    "Hiragana and Katakana": (0x3041, 0x30FF),
    "Bopomofo": (0x3105, 0x312F),
    "Han": (0x4E00, 0x9FFF),
    "Yi": (0xA000, 0xA4C6),
    "Hangul, syllables": (0xAC00, 0xD7A3),
    "Gothic": (0x10330, 0x1034A),
    "Cuneiform": (0x12000, 0x12399),
    "Egyptian": (0x13000, 0x1342E),
    "mathematical letters": (0x1D400, 0x1D7FF),
    "emoji": (0x1F300, 0x1FAFF),
    "signs": (0x2000, 0x2BFF),
}
BETWEEN = (
    " ",
    "  ",
    "\n",
    "\r\n\r\n",
    "\t",
    "'s",
    "'LL",
    "1",
    "12345",
    ".",
    "...",
    "/\n",
    "«",
    "\u0301",
    "\u200d",
    "a",
    "É",
)


def strings(block: str, n: int) -> Iterator[str]:
    """n strings of one script, the same at each call: letters in runs, with what stands between words."""
    generator = random.Random(block)
    first, last = BLOCKS[block]
    for _ in range(n):
        pieces = []
        for _ in range(generator.randint(1, 6)):
            pieces.append("".join(chr(generator.randint(first, last)) for _ in range(generator.randint(1, 8))))
            pieces.append(generator.choice(BETWEEN))
        yield "".join(pieces[: generator.randint(1, len(pieces))])
