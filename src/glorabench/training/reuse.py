"""Check whether a record was made on the data that a config names now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from glorabench.config.instantiate import DATA, make
from glorabench.records.record import Record

_OUR_PACKAGE = "glorabench."  # loaders whose config says which data they load


def same_data(record: Record, config: Mapping[str, Any]) -> bool:
    """True if a record was made on the data that `config` names now, as far as this can be known.

    For a suite, the id of a run contains the hash of the images. A loader of your own is asked for its fingerprint. If
    it cannot give one, because its files are not on this machine, the answer is True.
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
    except Exception:  # any error of code that is not ours; the run itself reports it
        return None
