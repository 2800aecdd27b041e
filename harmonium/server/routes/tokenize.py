"""POST /tokenize and /detokenize: the exact ids that a text or a conversation becomes, and back."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from harmonium.chat.options import PromptOptions
from harmonium.errors import BadRequest, at_fault
from harmonium.server.guarded import Guarded
from harmonium.server.reading import Items
from harmonium.server.serving import Admitted, Server
from harmonium.server.wire.chat_request import ChatFields
from harmonium.server.wire.fields import CHAT, told_of

router = APIRouter(tags=["tokens"], route_class=Guarded)
SHOWN = ("tools", "effort", "identity", "response_format")
"""Of a chat's options, those that shape its prompt."""


class TokenizeRequest(ChatFields):
    """prompt, or messages and whatever else a chat completion has."""

    prompt: str | None = None
    messages: Items[dict[str, Any]] | None = None
    parse_special: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(BaseModel):
    model_config = ConfigDict(extra="allow")

    tokens: Items[int]
    model: str | None = None


@router.post("/tokenize")
async def tokenize(asked: TokenizeRequest, server: Server, call: Admitted) -> dict[str, Any]:
    """Ids of a text, or of the prompt that a chat completion would give the model."""
    server.check_model(asked.model)
    llm = server.llm.llm
    if (asked.prompt is None) == (asked.messages is None):
        raise BadRequest("Give prompt, a text, or messages, a conversation; and not both.", param="prompt")
    if asked.messages is None:
        ids = await server.llm.encode(asked.prompt or "", bool(asked.parse_special))
    else:
        options = asked.options(*asked.offered, server.settings)
        shown = {name: value for name, value in options.items() if name in SHOWN and value is not None}
        begins = asked.add_generation_prompt is not False
        messages = await server.state.recall.restored(call.key or "", asked.messages)
        with told_of(CHAT):
            ids = await server.llm.render(messages, add_generation_prompt=begins, **cast(PromptOptions, shown))
    told: dict[str, Any] = {"count": len(ids), "max_model_len": llm.context, "tokens": ids}
    if asked.return_token_strs:
        told["token_strs"] = await server.llm.read(lambda: [llm.decode([id_]) for id_ in ids])
    return told


@router.post("/detokenize")
async def detokenize(asked: DetokenizeRequest, server: Server, _: Admitted) -> dict[str, Any]:
    """The text of ids; control tokens show as their names."""
    server.check_model(asked.model)
    with at_fault("tokens"):
        return {"prompt": await server.llm.read(lambda: server.llm.llm.decode(asked.tokens))}
