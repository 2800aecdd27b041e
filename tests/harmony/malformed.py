"""What models write that is not well formed, or looks it and is, and what a user gets."""

from __future__ import annotations

# Generations behind `<|start|>assistant`; then messages as (channel, recipient, text), and the repairs' kinds.
MALFORMED = {
    "?? in a header": (
        "<|channel|>analysis??<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["header_text"],
    ),
    "words in a header": (
        "<|channel|>analysis I think<|message|>A<|end|><|start|>assistant hm<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["header_text", "header_text", "header_text"],
    ),
    "doubled channel token": (
        "<|channel|><|channel|>analysis<|message|>A<|end|>",
        [("analysis", None, "A")],
        ["doubled_field"],
    ),
    "doubled channel": (
        "<|channel|>analysis<|channel|>final<|message|>A<|return|>",
        [("final", None, "A")],
        ["doubled_field"],
    ),
    "an end behind the end": ("<|channel|>final<|message|>A<|end|><|return|>", [("final", None, "A")], ["extra_end"]),
    "no header at all": ("I'm sorry, I can't.<|return|>", [("final", None, "I'm sorry, I can't.")], ["missing_header"]),
    "no header, at length": (
        "Well, " * 50 + "no.<|return|>",
        [("final", None, "Well, " * 50 + "no.")],
        ["missing_header"],
    ),
    "no message token": ("<|channel|>finalAll good.<|return|>", [("final", None, "All good.")], ["missing_message"]),
    "no message token in a call": (
        ' to=functions.f<|channel|>commentary <|constrain|>json{"a":1}<|call|>',
        [("commentary", "functions.f", '{"a":1}')],
        ["missing_message"],
    ),
    "no channel": ("<|message|>A<|return|>", [("final", None, "A")], ["missing_channel"]),
    "no channel in a call": (
        " to=functions.f<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        ["missing_channel"],
    ),
    "invented channel": ("<|channel|>reply<|message|>A<|return|>", [("final", None, "A")], ["unknown_channel"]),
    "cut channel": ("<|channel|>comment<|message|>A<|end|>", [("commentary", None, "A")], ["unknown_channel"]),
    "a missed end": (
        "<|channel|>analysis<|message|>A<|start|>assistant<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["missing_end"],
    ),
    "a missed end and start": (
        "<|channel|>analysis<|message|>A<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["missing_end"],
    ),
    "a missed start": (
        "<|channel|>analysis<|message|>A<|end|>assistant<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["missing_start"],
    ),
    "text behind the end": (
        "<|channel|>analysis<|message|>A<|end|>The answer is B.<|return|>",
        [("analysis", None, "A"), ("final", None, "The answer is B.")],
        ["missing_start", "missing_role", "missing_header"],
    ),
    "control tokens lost": (
        "assistantanalysis<|message|>A<|end|>assistantfinalB is it.<|return|>",
        [("analysis", None, "A"), ("final", None, "B is it.")],
        ["header_text", "header_text", "missing_start", "header_text", "header_text", "missing_message"],
    ),
    "a second start": (
        "<|start|>assistant<|channel|>final<|message|>A<|return|>",
        [("final", None, "A")],
        ["stray_token"],
    ),
    "reasoning that ends the turn": (
        "<|channel|>analysis<|message|>A<|return|>",
        [("analysis", None, "A")],
        ["wrong_end"],
    ),
    "a call that ends as an answer": (
        " to=functions.f<|channel|>commentary json<|message|>{}<|return|>",
        [("commentary", "functions.f", "{}")],
        ["wrong_end"],
    ),
    "an answer that ends as a call": ("<|channel|>final<|message|>A<|call|>", [("final", None, "A")], ["wrong_end"]),
    "a stray token in the body": (
        "<|channel|>final<|message|>A<|constrain|>B<|message|>C<|return|>",
        [("final", None, "ABC")],
        ["stray_token", "stray_token"],
    ),
    "a blank behind the constrain token": (
        " to=functions.f<|channel|>commentary <|constrain|> json<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        ["header_text"],
    ),
    "two blanks": (
        " to=functions.f<|channel|>commentary  json<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        ["header_text"],
    ),
    "a call without its channel and message tokens": (
        'commentary to=functions.f {"a":1}<|call|>',
        [("commentary", "functions.f", '{"a":1}')],
        ["header_text", "missing_message"],
    ),
    "a long call without its channel and message tokens": (
        'commentary to=functions.f json {"a":[' + "1," * 60 + "1]}<|call|>",
        [("commentary", "functions.f", '{"a":[' + "1," * 60 + "1]}")],
        ["header_text", "missing_message"],
    ),
    "recipient without to=": (
        "<|channel|>commentary functions.f <|constrain|>json<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        ["header_text"],
    ),
    "recipient twice": (
        " to=functions.f<|channel|>commentary to=functions.g<|message|>{}<|call|>",
        [("commentary", "functions.g", "{}")],
        ["doubled_field"],
    ),
    "nothing said": ("<|return|>", [("final", None, "")], ["missing_header"]),
    # These deviate from nothing: all of them were trained.
    "call without constrain": (
        " to=functions.f<|channel|>commentary<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        [],
    ),
    "recipient behind the channel": (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        [],
    ),
    "call on the analysis channel": (
        "<|channel|>analysis to=browser.search code<|message|>{}<|call|>",
        [("analysis", "browser.search", "{}")],
        [],
    ),
    "invented tool": (
        " to=functions.made_up<|channel|>commentary json<|message|>{'a': 1}<|call|>",
        [("commentary", "functions.made_up", "{'a': 1}")],
        [],
    ),
}
