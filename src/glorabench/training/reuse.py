"""Whether a record answers a config: it is one of the data that the config names now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from glorabench.config.instantiate import DATA, make
from glorabench.records.record import Record

_OUR_PACKAGE = "glorabench."  # loaders whose config says which data they load


def same_data(record: Record, config: Mapping[str, Any]) -> bool:
    """Whether the data of a record are those that `config` names now, as far as that can be told.

    The id of a run has the hash of a suite's images. A loader of one's own is asked for its fingerprint, and where it
    cannot tell, because its files are not on this machine, the record stands.
    """
    data = config["data"]
    fingerprint = (record.provenance.get("data") or {}).get("fingerprint")
    if fingerprint is None or str(data.get("_target_")).startswith(_OUR_PACKAGE):
        return True
    return _fingerprint(json.dumps(data, sort_keys=True)) in (None, fingerprint)


@lru_cache(maxsize=256)
def _fingerprint(data: str) -> str | None:
    try:
        return make(json.loads(data), DATA).fingerprint
    except Exception:  # of code that is not ours; the run itself says what is wrong
        return None
