"""Function tools: the right call with the right JSON, its result read out, two calls in a row, no call when none fits.

Analysis is in English whatever the question's language; the answer is in the question's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from harmonium.harmony.messages import Message
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import Scene
from recipes.nano.skills import function_thoughts
from recipes.nano.skills.function_inventions import ask_for_invention, invent
from recipes.nano.skills.function_library import (
    CHAINS,
    FAMILIES,
    PAIRED,
    SPOKEN,
    Function,
    Request,
    arguments,
    ask,
    ask_two,
    declare,
    fill,
    mentions,
    subject,
)
from recipes.nano.skills.function_results import Result, result_of, result_with, tells
from recipes.nano.skills.function_scenes import as_typed, demo, hasty, is_on_side, open_scene, pick_language, toolbox
from recipes.nano.skills.function_turns import answers, call, is_called, is_finally, told, turn
from recipes.nano.skills.function_values import Slot
from recipes.nano.skills.instructions import bare_json, instruction
from recipes.nano.skills.no_call import no_call

_WEATHER, _PRICE = FAMILIES["weather.now"], FAMILIES["shop.price"]
_RIDDLE_REPLY = {
    "en": "I was sent for {subject} and came back to tell: {reading}. Who am I, can you spell? A function!",
    "fr": "On m'a envoyée pour {subject} et je reviens dire : {reading}. Qui suis-je ? Une fonction !",
    "de": "Man fragte mich, {subject}, und ich kam zu berichten: {reading}. Wer bin ich? Eine Funktion!",
    "es": "Me enviaron por {subject} y volví para decir: {reading}. ¿Quién soy? ¡Una función!",
    "ja": "{subject}を調べに行き、こう伝えます: {reading}。私は誰でしょう? 関数です!",
}
_SECOND = {
    "en": ("{} And for {}?", "{} Then the same for {}.", "{} Also for {}, please.", "{} And {}?"),
    "fr": ("{} Et pour {} ?", "{} Puis la même chose pour {}."),
    "de": ("{} Und für {}?", "{} Danach dasselbe für {}."),
    "es": ("{} ¿Y para {}?", "{} Luego lo mismo para {}."),
    "ja": ("{} {}についてもお願いします。",),
}
_JOINS = {
    "en": ("{} {}", "{} And then: {}", "{} Also: {}", "{} After that: {}", "First: {} Second: {}"),
    "fr": ("{} {}", "{} Et ensuite : {}"),
    "de": ("{} {}", "{} Und danach: {}"),
    "es": ("{} {}", "{} Y después: {}"),
    "ja": ("{}{}", "{} それから、{}"),
}
_AGAIN = {
    "en": ("And for {}?", "And {}?", "What about {}?", "The same for {}, please.", "Now {}."),
    "fr": ("Et pour {} ?", "Et {} ?"),
    "de": ("Und für {}?", "Und {}?"),
    "es": ("¿Y para {}?", "¿Y {}?"),
    "ja": ("{}は?", "{}についてもお願いします。"),
}


def _declared(random: Random, language: str, *, held_out: bool) -> Function:
    """Any function; the weather, a price and the two of `--tools demo` more often."""
    luck = random.random()
    if luck < 0.07:
        return random.choice(demo())
    family = random.choice((_WEATHER, _PRICE)) if luck < 0.15 else random.choice(SPOKEN[language])
    return declare(random, family, held_out=held_out)


def _request(random: Random, *, held_out: bool) -> tuple[Request, str]:
    """One call's question, of the library or invented, and its language."""
    while True:
        if random.random() < 0.25:
            language = "en"
            request = ask_for_invention(random, invent(random, held_out=held_out), held_out=held_out)
        else:
            language = pick_language(random)
            request = ask(random, _declared(random, language, held_out=held_out), language, held_out=held_out)
        if random.random() < 0.12:
            request = hasty(request, language)
        else:
            request = replace(request, question=as_typed(random, request.question, request.said, language))
        if is_on_side(request.question, [request.function], held_out):
            return request, language


def _riddle(request: Request, result: Result, language: str) -> str:
    return _RIDDLE_REPLY[language].format(subject=request.subject, reading=result.reading.rstrip(".!?"))


def _shaped_scene(
    random: Random, request: Request, result: Result, tools: Sequence[Function], language: str
) -> tuple[Scene, str, Callable[[Answer], bool]]:
    """An opening, the answer that fits it and its judge: now and then under an instruction that shapes the answer."""
    final = answers([request], [result], language)
    if result.failed or random.random() > 0.14:
        return open_scene(random, tools), final, tells([result], final)
    shapes: dict[str, Callable[[], str]] = {"riddles": lambda: _riddle(request, result, language)}
    if language != "ja":
        shapes |= {"upper": final.upper, "lower": final.lower}
    if len(result.values) == 1:
        shapes["bare json"] = lambda: bare_json(result.values[0])
    if len(result.values) == 1 and " " not in result.values[0]:
        shapes["one word"] = lambda: result.values[0].rstrip(".!?")
    name = random.choice(list(shapes))
    shaped = shapes[name]()
    judge = tells([result], final) if name == "riddles" else is_finally(shaped)
    return open_scene(random, tools, instruction(random, name, language)), shaped, judge


def tool_call(random: Random, *, held_out: bool) -> Drill:
    """The right function with the right arguments; in evaluation the conversation ends at the call."""
    if random.random() < 0.1:
        return _call_again(random, held_out=held_out)
    request, language = _request(random, held_out=held_out)
    tools = toolbox(random, [request.function], held_out=held_out)
    result = result_of(random, request.function.family, held_out=held_out)
    place, final, _ = _shaped_scene(random, request, result, tools, language)
    learned = turn(request, result, tools, place, final)
    learned = learned[:2] if held_out or random.random() < 0.35 else learned
    return place.drill("tool_call", language, [Message.user(request.question)], learned, is_called(request))


def _call_again(random: Random, *, held_out: bool) -> Drill:
    """A second turn that asks the same about something else ("And in Rome?")."""
    language = pick_language(random)
    while True:
        function = declare(random, random.choice(PAIRED[language]), held_out=held_out)
        first, second, _ = ask_two(random, function, language, held_out=held_out)
        question = random.choice(_AGAIN[language]).format(second.said[0])
        if is_on_side(f"{first.question} {question}", [function], held_out):
            break
    tools = toolbox(random, [function], held_out=held_out)
    place = open_scene(random, tools)
    results = [result_of(random, function.family, held_out=held_out) for _ in range(2)]
    finals = [answers([request], [result], language) for request, result in zip((first, second), results, strict=True)]
    earlier = turn(first, results[0], tools, place, finals[0])
    learned = turn(second, results[1], tools, place, finals[1])
    learned = learned[:2] if held_out or random.random() < 0.35 else learned
    given = [Message.user(first.question), *earlier, Message.user(question)]
    return place.drill("tool_call", language, given, learned, is_called(second))


def tool_result(random: Random, *, held_out: bool) -> Drill:
    """A result read into the answer; in evaluation the call is given."""
    request, language = _request(random, held_out=held_out)
    tools = toolbox(random, [request.function], held_out=held_out)
    result = result_of(random, request.function.family, held_out=held_out)
    place, final, judge = _shaped_scene(random, request, result, tools, language)
    said = turn(request, result, tools, place, final)
    n_given = 3 if held_out else 0
    given, learned = [Message.user(request.question), *said[:n_given]], said[n_given:]
    return place.drill("tool_result", language, given, learned, judge)


def _twice(random: Random, language: str, *, held_out: bool) -> tuple[list[Request], list[Result], str]:
    """The same function for two things."""
    function = declare(random, random.choice(PAIRED[language]), held_out=held_out)
    first, second, together = ask_two(random, function, language, held_out=held_out)
    if together is None or random.random() < 0.3:
        together = random.choice(_SECOND[language]).format(_ended(first.question), second.said[0])
    return [first, second], [result_of(random, function.family, held_out=held_out) for _ in range(2)], together


def _both(random: Random, language: str, *, held_out: bool) -> tuple[list[Request], list[Result], str]:
    """Two different functions, one after the other."""
    requests: list[Request] = []
    while len(requests) < 2:
        if language == "en" and random.random() < 0.15:
            request = ask_for_invention(random, invent(random, held_out=held_out), held_out=held_out)
        else:
            family = random.choice(SPOKEN[language])
            request = ask(random, declare(random, family, held_out=held_out), language, held_out=held_out)
        if all(request.function.family.topic != other.function.family.topic for other in requests):
            requests.append(request)
    first, second = requests
    question = random.choice(_JOINS[language]).format(_ended(first.question), second.question)
    return requests, [result_of(random, request.function.family, held_out=held_out) for request in requests], question


def _ended(question: str) -> str:
    return question if question[-1] in ".?!。" else f"{question};"


def _chained(random: Random, *, held_out: bool) -> tuple[list[Request], list[Result], str]:
    """The second call takes a value from the first result."""
    chain = random.choice(CHAINS)
    template = random.choice(chain.asks)
    first, second = (
        declare(random, family, held_out=held_out, keep=(chain.taken,)) for family in (chain.first, chain.second)
    )
    slots = fill(random, first, template, "en", held_out=held_out, prefix="a_")
    later = fill(random, second, template, "en", held_out=held_out, prefix="b_")
    said = tuple(slot.said for slot in (*slots.values(), *later.values()))
    question = template.format_map(mentions(first, slots, "a_") | mentions(second, later, "b_"))
    result, value = result_with(random, chain.first, chain.given, held_out=held_out)
    later[chain.taken] = Slot(value, str(value))
    requests = [
        Request(function, question, arguments(function, filled), function.family.wants, about, said)
        for function, filled, about in (
            (first, slots, subject(first, slots, "en")),
            (second, later, subject(second, later, "en")),
        )
    ]
    return requests, [result, result_of(random, chain.second, held_out=held_out)], question


def two_calls(random: Random, *, held_out: bool) -> Drill:
    """Two calls in a row: the same function twice, two functions, or the second one with the first one's result."""
    while True:
        language, luck = pick_language(random), random.random()
        if luck < 0.34:
            language = "en"
            requests, results, question = _chained(random, held_out=held_out)
        else:
            make = _twice if luck < 0.67 else _both
            requests, results, question = make(random, language, held_out=held_out)
        said = [text for request in requests for text in request.said]
        question = as_typed(random, question, said, language)
        functions = list({request.function.spec.name: request.function for request in requests}.values())
        n_functions = len({id(request.function) for request in requests})
        if len(functions) == n_functions and is_on_side(question, functions, held_out):
            break
    tools = toolbox(random, functions, held_out=held_out)
    place = open_scene(random, tools)
    is_chain = luck < 0.34
    answered = slice(1, None) if is_chain else slice(None)
    first, second = requests
    learned = [
        Message.analysis(function_thoughts.first_of_two(first, second, tools, place.effort)),
        call(first),
        told(first, results[0]),
        Message.analysis(function_thoughts.second_of_two(second, results[0], place.effort)),
        call(second),
        told(second, results[1]),
        Message.analysis(function_thoughts.after(results[1], second, place.effort)),
        Message.final(answers(requests[answered], results[answered], language)),
    ]
    judge = tells(results[answered], learned[-1].text)
    return place.drill("two_calls", language, [Message.user(question)], learned, judge)


SKILLS: dict[str, Skill] = {
    "tool_call": tool_call,
    "tool_result": tool_result,
    "two_calls": two_calls,
    "no_call": no_call,
}
