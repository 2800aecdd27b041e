"""/v1/conversations: what was said in one is read by the next response in it."""

from __future__ import annotations

import pytest
from openai import NotFoundError
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from tests.server.conftest import Running
from tests.server.response_streams import check_response
from tests.server.test_responses import WEATHER


def test_a_conversation_is_made_changed_listed_and_deleted(server: Running) -> None:
    client = server.openai()
    made = client.conversations.create(
        metadata={"topic": "demo"}, items=[{"type": "message", "role": "user", "content": "Hello!"}]
    )
    assert client.conversations.retrieve(made.id) == made and made.metadata == {"topic": "demo"}
    assert client.conversations.update(made.id, metadata={"topic": "new"}).metadata == {"topic": "new"}
    added = client.conversations.items.create(
        made.id, items=[{"role": "user", "content": f"Number {number}"} for number in range(5)]
    )
    assert len(added.data) == 5 and not added.has_more
    listed = list(client.conversations.items.list(made.id, limit=2, order="asc"))
    assert [item.content[0].text for item in listed] == ["Hello!", *(f"Number {number}" for number in range(5))]  # type: ignore[union-attr]
    assert [item.id for item in client.conversations.items.list(made.id)] == [item.id for item in listed[::-1]]
    assert client.conversations.items.retrieve(listed[3].id, conversation_id=made.id) == listed[3]  # type: ignore[arg-type]
    assert client.conversations.items.delete(listed[3].id, conversation_id=made.id).id == made.id  # type: ignore[arg-type]
    assert len(list(client.conversations.items.list(made.id))) == 5
    assert client.conversations.delete(made.id).deleted
    for gone in (client.conversations.retrieve, client.conversations.delete, client.conversations.items.list):
        with pytest.raises(NotFoundError):
            gone(made.id)  # type: ignore[operator]


def test_responses_read_a_conversation_and_add_to_it(server: Running) -> None:
    id_ = server.post("/conversations")["id"]
    one = server.post("/responses", conversation=id_, input="What is the weather in Oslo?", tools=[WEATHER])
    check_response(one)
    call = one["output"][-1]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"temperature": 7}'}
    two = server.post("/responses", conversation={"id": id_}, input=[result], tools=[WEATHER])
    assert two["conversation"] == {"id": id_} and "7" in two["output"][-1]["content"][0]["text"]
    chained = server.post("/responses", previous_response_id=one["id"], input=[result], tools=[WEATHER])
    assert chained["output"][-1]["content"] == two["output"][-1]["content"]
    assert chained["usage"]["input_tokens"] == two["usage"]["input_tokens"]
    listed = server.http.get(f"/v1/conversations/{id_}/items?order=asc").json()["data"]
    assert [item["id"] for item in listed if item in one["output"]] == [item["id"] for item in one["output"]]
    assert listed[-1] == two["output"][-1] and len(listed) == 2 + len(one["output"]) + len(two["output"])
    server.post("/responses", conversation=id_, input="Thanks!", store=False, tools=[WEATHER])
    assert len(server.http.get(f"/v1/conversations/{id_}/items").json()["data"]) > len(listed)


def test_the_input_of_a_response_is_listed_in_pages(server: Running) -> None:
    given = [{"role": "user", "content": f"Number {number}"} for number in range(12)]
    made = server.post("/responses", input=given, max_output_tokens=1)
    client = server.openai()
    read = list(client.responses.input_items.list(made["id"], limit=5))
    texts = [item.content[0].text for item in read]  # type: ignore[union-attr]
    assert texts == [item["content"] for item in given[::-1]]
    one = server.http.get(f"/v1/responses/{made['id']}/input_items?limit=1&order=asc").json()
    assert one["has_more"] is True and one["first_id"] == one["last_id"] == one["data"][0]["id"]
    for item in server.http.get(f"/v1/responses/{made['id']}/input_items?limit=100").json()["data"]:
        TypeAdapter(ResponseItem).validate_python(item)
    assert server.http.get(f"/v1/responses/{made['id']}/input_items?limit=101").status_code == 400
    assert server.http.get("/v1/responses/resp_none/input_items").status_code == 404
    nowhere = server.http.get(f"/v1/responses/{made['id']}/input_items?after=nope")
    assert (nowhere.status_code, nowhere.json()["error"]["param"]) == (404, "after")


def test_a_conversation_that_is_not_there_or_too_much_at_once_is_said_so(server: Running) -> None:
    for body in ({"conversation": "conv_none"}, {"conversation": {"id": "x\x00"}}):
        answer = server.http.post("/v1/responses", json={"input": "Hi", **body})
        assert answer.status_code == 404 and answer.json()["error"]["param"] == "conversation"
    both = server.http.post("/v1/responses", json={"input": "Hi", "conversation": "a", "previous_response_id": "b"})
    assert both.status_code == 400
    many = server.http.post("/v1/conversations", json={"items": ["Hi"] * 21})
    assert many.status_code == 400 and many.json()["error"]["param"] == "items"
    wrong = server.http.post("/v1/conversations", json={"items": [{"type": "message", "role": "nobody"}]})
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "items[0]"
