"""Chats: the roles of a conversation in the spellings that circulate, and the order that they must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from glorabench.data.text.files.reading import TextRow
from glorabench.data.text.task import TextExample
from glorabench.errors import BadInput

ROLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
}
_LISTS: Final = ("conversations", "messages", "conversation")
_ROLE_KEYS: Final = ("from", "role")
_TEXT_KEYS: Final = ("value", "content")


def chat_of(row: TextRow) -> TextExample | None:
    """The chat of a row: `conversations` of {from, value}, or `messages` of {role, content}.

    A chat begins with a turn of the user; what an assistant says before that is left out, as in FastChat, and so are
    turns of the user after the last answer. One that has no answer is None.

    Raises:
        BadInput: there is no such list, a role is unknown, a text is empty, or two turns in a row have one role.
    """
    turns = _turns(row)
    system = ""
    if turns and turns[0][0] == "system":
        system, turns = turns[0][1], turns[1:]
    while turns and turns[0][0] == "assistant":
        turns = turns[1:]
    while turns and turns[-1][0] == "user":
        turns = turns[:-1]
    for number, (role, _) in enumerate(turns):
        wanted = ("user", "assistant")[number % 2]
        if role != wanted:
            raise BadInput(
                f"{row.place}: turn {number} of the chat is of the {role}, not of the {wanted}: turns must alternate"
            )
    if not turns:
        return None
    return TextExample(system, "".join(text for role, text in turns if role == "assistant"), turns=tuple(turns))


def _turns(row: TextRow) -> list[tuple[str, str]]:
    """All turns of a row as (role, text), in our words for the roles."""
    name = next((key for key in _LISTS if key in row.cells), None)
    entries = row.cells.get(name) if name else None
    if not isinstance(entries, list):
        there = ", ".join(row.cells) or "none"
        raise BadInput(f"{row.place}: no list of turns, '{_LISTS[0]}' or '{_LISTS[1]}'; its fields are {there}")
    turns = []
    for number, entry in enumerate(entries):
        place = f"{row.place}: turn {number} of the chat"
        if not isinstance(entry, dict):
            raise BadInput(f"{place} is no object with a role and a text")
        role = next((entry[key] for key in _ROLE_KEYS if key in entry), None)
        text = next((entry[key] for key in _TEXT_KEYS if key in entry), None)
        if role not in ROLES:
            raise BadInput(f"{place} has the role {role!r}: it must be one of {', '.join(ROLES)}")
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"{place} has an empty text: remove the chat or the turn")
        turns.append((ROLES[role], text))
    return turns
