"""An invented web in the shape that gpt-oss's browser shows: search results and pages with numbered lines.

A display begins with the cursor in brackets, the title and, for pages, the domain; then which lines are shown; then the
lines, wrapped at 80 columns. Links read 【id†title†domain】, citations 【cursor†L3】 or 【cursor†L3-L4】. Source:
openai/gpt-oss, gpt_oss/tools/simple_browser.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from random import Random

from recipes.nano.words import pseudo_word

SENTENCES = {
    "highest temperature": (
        "The highest temperature ever measured in {x} is {v}.",
        "{v} is the record high of {x}, reached on a day in summer.",
        "In {x} the thermometer has risen to {v}.",
    ),
    "lowest temperature": (
        "The lowest temperature ever measured in {x} is {v}.",
        "{v} is the record low of {x}, reached on a night in winter.",
        "In {x} the thermometer has fallen to {v}.",
    ),
    "coastline length": ("The coastline of {x} is {v} long.", "{x} has {v} of coast."),
    "number of lakes": ("There are {v} lakes in {x}.", "{x} counts {v} lakes larger than a pond."),
    "population": (
        "The population of {x} is {v}.",
        "{x} has {v} inhabitants.",
        "At the last count {v} people lived in {x}.",
    ),
    "mayor": ("The mayor of {x} is {v}.", "{v} was elected mayor of {x}.", "{x} is governed by its mayor, {v}."),
    "elevation": ("{x} lies {v} above the sea.", "The elevation of {x} is {v}."),
    "founding year": ("{x} was founded in {v}.", "The founding year of {x} is {v}.", "Since {v} there has been {x}."),
    "opening year": ("{x} opened its doors in {v}.", "The opening year of {x} is {v}.", "In {v} the {x} was opened."),
    "ticket price": ("A ticket for {x} costs {v}.", "The ticket price of {x} is {v}.", "Visitors of {x} pay {v}."),
    "opening time": ("{x} opens at {v} every day.", "The doors of {x} open at {v}."),
    "price": ("The {x} costs {v}.", "The price of the {x} is {v}.", "You can buy the {x} for {v}."),
    "weight": ("The {x} weighs {v}.", "The weight of the {x} is {v}."),
    "height": ("{x} is {v} high.", "The height of {x} is {v}.", "With {v}, {x} can be seen from far away."),
    "length": ("{x} is {v} long.", "The length of {x} is {v}."),
    "author": ("{x} was written by {v}.", "The author of {x} is {v}.", "{v} is the author of {x}."),
    "number of pages": ("{x} has {v} pages.", "The book {x} counts {v} pages."),
    "number of employees": ("{x} has {v} employees.", "{v} people work for {x}."),
    "founder": ("{x} was founded by {v}.", "The founder of {x} is {v}."),
}
"""How pages say a fact: {x} has the value {v}."""
_DULL = (
    "This page was last changed a week ago.",
    "All figures are checked once a year.",
    "Photographs, maps and a short history follow below.",
    "Please write to us if you find a mistake.",
    "More than a thousand readers visit this page every month.",
    "The text may be copied freely.",
    "There is also a version for small screens.",
    "See also the list of similar pages.",
)
_VAGUE = (
    "Facts and figures at a glance.",
    "Everything that you need to know, on one page.",
    "Read the full article.",
    "An overview with numbers and sources.",
    "Our page answers the most frequent questions.",
)
_TITLES = ("{A} of {x}", "{x}: {a}", "{x} - {a}", "{A}: {x}")
_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "facts.example",
    "atlas.example",
    "wiki.example",
    "daily.example",
)


@dataclass(frozen=True)
class Display:
    """text: what the tool gives back. lines: where the fact stands, "L4" or "L4-L5"; "" when it does not."""

    text: str
    lines: str


@dataclass(frozen=True)
class Entry:
    """A thing and one of its attributes with its value."""

    thing: str
    attribute: str
    value: str

    def sentence(self, random: Random) -> str:
        said = random.choice(SENTENCES[self.attribute]).format(x=self.thing, v=self.value)
        return said[0].upper() + said[1:]

    def title(self, random: Random) -> str:
        name = self.attribute
        title = random.choice(_TITLES).format(A=name[0].upper() + name[1:], a=name, x=self.thing)
        return title[0].upper() + title[1:]


def domain(random: Random) -> str:
    """A host name that exists nowhere."""
    host = random.choice(_DOMAINS)
    return host if random.random() < 0.5 else f"{pseudo_word(random, 'en', 3, 6)}.{host}"


def _wrapped(paragraph: str) -> list[str]:
    return textwrap.wrap(paragraph, 80, drop_whitespace=False, break_on_hyphens=False) or [""]


def _display(cursor: int, header: str, paragraphs: list[str], wanted: int) -> Display:
    """A numbered page; wanted is the paragraph that holds the fact, -1 for none."""
    lines: list[str] = []
    first = last = -1
    for i, paragraph in enumerate(paragraphs):
        if i == wanted:
            first = len(lines)
        lines += _wrapped(paragraph) if len(paragraph) > 80 else [paragraph]
        if i == wanted:
            last = len(lines) - 1
    body = "\n".join(f"L{i}: {line}" for i, line in enumerate(lines))
    end = len(lines) - 1
    shown = "" if wanted < 0 else f"L{first}" if first == last else f"L{first}-L{last}"
    return Display(f"[{cursor}] {header}\n**viewing lines [0 - {end}] of {end}**\n\n{body}", shown)


def results(
    random: Random, cursor: int, query: str, entry: Entry, others: list[Entry], *, tells: bool
) -> tuple[Display, int, str, str]:
    """A page of search results: the display, the id of the wanted result, its title and its domain.

    tells: whether the wanted result's own summary states the fact; otherwise it has to be opened.
    """
    found = [entry, *others]
    random.shuffle(found)
    wanted = found.index(entry)
    paragraphs = ["", "URL: ", "# Search Results", ""]
    titles = [one.title(random) for one in found]
    domains = [domain(random) for _ in found]
    for i, one in enumerate(found):
        summary = one.sentence(random) if tells else random.choice(_VAGUE)
        paragraphs.append(f"  * 【{i}†{titles[i]}†{domains[i]}】 {summary}")
    display = _display(cursor, query, paragraphs, 4 + wanted if tells else -1)
    return display, wanted, titles[wanted], domains[wanted]


def page(random: Random, cursor: int, title: str, host: str, entry: Entry, others: list[Entry]) -> Display:
    """A page about a thing: the wanted fact among other facts and dull lines."""
    told = [(entry.sentence(random), True), *((one.sentence(random), False) for one in others)]
    told += [(line, False) for line in random.sample(_DULL, random.choice((0, 1, 1, 2)))]
    random.shuffle(told)
    slug = title.lower().replace(":", "").replace(" - ", " ").replace(" ", "-")
    paragraphs = ["", f"URL: https://{host}/{slug}", f"# {title}", "", *(text for text, _ in told)]
    wanted = 4 + [is_wanted for _, is_wanted in told].index(True)
    return _display(cursor, f"{title} ({host})", paragraphs, wanted)


def citation(cursor: int, lines: str) -> str:
    """How an answer points to where it was read."""
    return f"【{cursor}†{lines}】"
