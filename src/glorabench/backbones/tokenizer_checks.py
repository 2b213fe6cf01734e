"""Is a tokenizer that of the network? Another one trains and scores without a word, on nonsense."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from glorabench.errors import BadInput

_FIX: Final = "give the folder of the right one with backbone.tokenizer_from=PATH"
_LEAST_SHARE: Final = 0.9  # of the network's tokens; tables are padded to a round number, but not by more


def check_tokenizer(tokenizer: Any, config: Any, folder: Path) -> None:
    """Compare a tokenizer with the `config.json` of a network: how many tokens, and which begin and end a text.

    Args:
        tokenizer: as transformers loads it.
        config: as transformers loads it; `eos_token_id` may be a list.
        folder: of the tokenizer, for the message.

    Raises:
        BadInput: it is of another model; naming what differs.
    """
    if len(tokenizer) < _LEAST_SHARE * config.vocab_size:
        raise BadInput(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, but the network knows {config.vocab_size}: it is "
            f"of another model; {_FIX}"
        )
    for name, place in (("bos", "begins"), ("eos", "ends")):
        own, known = getattr(tokenizer, f"{name}_token_id"), getattr(config, f"{name}_token_id", None)
        allowed = known if isinstance(known, list) else [known]
        if own is not None and known is not None and own not in allowed:
            raise BadInput(
                f"the tokenizer in {folder} {place} a text with token {own}, but config.json of the network says "
                f"{name}_token_id {known}: it is of another model; {_FIX}, or mend config.json"
            )
