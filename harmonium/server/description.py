"""What /openapi.json says: FastAPI's description of the requests, with answers, streams and errors as they are.

It is made when somebody first asks for it: the openai package's types are large, and no request needs their schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any, Literal

from fastapi import FastAPI
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItem, ConversationItemList
from openai.types.responses import InputTokenCountResponse, Response, ResponseItemList
from pydantic import BaseModel, TypeAdapter

from harmonium.server.plain_json import dump

PLACE = "#/components/schemas/"


class Failure(BaseModel):
    """What went wrong. param: the field of the request that is at fault, where one is."""

    message: str
    type: str
    param: str | None
    code: str


class FailureAnswer(BaseModel):
    error: Failure


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


class ResponseDeleted(BaseModel):
    id: str
    object: Literal["response"]
    deleted: bool


class Tokens(BaseModel):
    """max_model_len: of prompt and answer together."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DecodedText(BaseModel):
    prompt: str


class Health(BaseModel):
    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    status: Literal["ready"]
    model: str


ANSWERS: Mapping[str, Any] = {
    "POST /v1/chat/completions": ChatCompletion,
    "POST /v1/completions": Completion,
    "POST /v1/responses": Response,
    "GET /v1/responses/{response_id}": Response,
    "POST /v1/responses/{response_id}/cancel": Response,
    "DELETE /v1/responses/{response_id}": ResponseDeleted,
    "GET /v1/responses/{response_id}/input_items": ResponseItemList,
    "POST /v1/responses/input_tokens": InputTokenCountResponse,
    "POST /v1/conversations": Conversation,
    "GET /v1/conversations/{conversation_id}": Conversation,
    "POST /v1/conversations/{conversation_id}": Conversation,
    "DELETE /v1/conversations/{conversation_id}": ConversationDeletedResource,
    "GET /v1/conversations/{conversation_id}/items": ConversationItemList,
    "POST /v1/conversations/{conversation_id}/items": ConversationItemList,
    "GET /v1/conversations/{conversation_id}/items/{item_id}": ConversationItem,
    "DELETE /v1/conversations/{conversation_id}/items/{item_id}": Conversation,
    "GET /v1/models": ModelList,
    "GET /v1/models/{name}": Model,
    "POST /tokenize": Tokens,
    "POST /detokenize": DecodedText,
    "GET /health": Health,
    "GET /ready": Readiness,
}
"""The types of JSON answers, by operation."""
FAILURE = "failure"


def _text(about: str) -> dict[str, str]:
    return {"type": "string", "description": about}


OBJECTS = "Server-sent events. The data of each is a {}, and that of the last [DONE]."
EVENTS = _text(
    "Server-sent events, named by type. The data of each is one of the openai package's ResponseStreamEvent."
)
STREAMS: Mapping[str, Any] = {
    "POST /v1/chat/completions": _text(OBJECTS.format("chat.completion.chunk")),
    "POST /v1/completions": _text(OBJECTS.format("text_completion")),
    "POST /v1/responses": EVENTS,
    "GET /v1/responses/{response_id}": EVENTS,
}
FIGURES: Mapping[str, Any] = {"GET /metrics": _text("Figures in the format of Prometheus.")}
TEXTS = (("text/event-stream", STREAMS), ("text/plain", FIGURES))


class Description:
    """Of an application, as JSON."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making = Lock()
        self._json: bytes | None = None

    def json(self) -> bytes:
        """Takes a second when it is first asked for, in a thread."""
        with self._making:
            if self._json is None:
                self._json = dump(_with_answers(self._app.openapi()))
        return self._json


def _with_answers(description: dict[str, Any]) -> dict[str, Any]:
    schemas: dict[str, Any] = description["components"]["schemas"]
    answers, defined = _schemas({**ANSWERS, FAILURE: FailureAnswer})
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            name, told = f"{method.upper()} {path}", operation["responses"]
            contents = [("application/json", answers.get(name)), *((kind, texts.get(name)) for kind, texts in TEXTS)]
            told["200"]["content"] = {kind: {"schema": schema} for kind, schema in contents if schema is not None}
            for status, whose in (("4XX", "The request"), ("5XX", "The server, or one that it asked,")):
                content = {"application/json": {"schema": answers[FAILURE]}}
                told[status] = {"description": f"{whose} is at fault.", "content": content}
            told.pop("422", None)  # of FastAPI, whose refusals errors.py makes ours
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name)
    schemas |= defined
    description["components"]["schemas"] = {_short(name): schema for name, schema in schemas.items()}
    assert len(description["components"]["schemas"]) == len(schemas), "no two have one name"
    renamed: dict[str, Any] = _renamed(description)
    return renamed


def _schemas(kinds: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each type, and what they refer to."""
    inputs = [(name, "validation", TypeAdapter(kind)) for name, kind in kinds.items()]
    found, defined = TypeAdapter.json_schemas(inputs, ref_template=f"{PLACE}{{model}}")  # type: ignore[arg-type]
    return {name: schema for (name, _), schema in found.items()}, defined["$defs"]


def _short(name: str) -> str:
    """A class's name; of those that share one, the module's before it: a__b__some_types__C is SomeTypesC."""
    *modules, own = name.split("__")
    module = "".join(part.title() for part in modules[-1].split("_")) if modules else ""
    return own if module == own else module + own


def _renamed(value: Any) -> Any:
    """A value whose references are to short names."""
    if isinstance(value, dict):
        return {name: _renamed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner) for inner in value]
    if isinstance(value, str) and value.startswith(PLACE):
        return PLACE + _short(value.removeprefix(PLACE))
    return value
