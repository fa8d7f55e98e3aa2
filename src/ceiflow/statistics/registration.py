"""What was claimed when the study first ran, and whether it was changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

SCHEMA = "ceiflow-registration-1"


def claim_digest(claim: Mapping[str, object]) -> str:
    """Sixteen hex digits of a claim's wording: shows whether it was changed after it was registered."""
    return _digest(claim)


def _digest(content: object) -> str:
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def register(path: str | Path, claims: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Enter the claims of a run in the register, which keeps what earlier runs claimed.

    Parameters
    ----------
    path : path
        study/registration.json; made by the first run, and added to by every run whose claims differ from
        those of the run before. Two first runs write the same bytes.
    claims : sequence of mappings
        The configuration's `claims`.

    Returns
    -------
    dict
        For each claim `unchanged`, `changed` or `added`, all since the first run.
    """
    path = Path(path)
    now = {str(claim["id"]): claim_digest(claim) for claim in claims}
    version = {"digest": _digest(now), "claims": now}
    versions = _versions(path)
    if not versions or versions[-1] != version:
        versions.append(version)
    first = versions[0]["claims"]
    content = {
        "schema": SCHEMA,
        "digest": version["digest"],
        "first_digest": versions[0]["digest"],
        "changed_since_first_run": version != versions[0],
        "added": sorted(set(now) - set(first)),
        "changed": sorted(name for name in set(now) & set(first) if now[name] != first[name]),
        "dropped": sorted(set(first) - set(now)),
        "versions": versions,
    }
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    return {
        name: "added" if name not in first else "unchanged" if digest == first[name] else "changed"
        for name, digest in now.items()
    }


def _versions(path: Path) -> list[dict]:
    """What earlier runs claimed; nothing where the register is absent or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(content["versions"]) if content.get("schema") == SCHEMA else []
