"""What the validator of the Workflow Run profile says of a crate, without a network: one JSON list of texts.

Called by the tests with the interpreter of `make clusters`: `python crate_issues.py FOLDER`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import rdflib.plugins.shared.jsonld.context as jsonld
import rocrate
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils import http


def stay_at_home() -> None:
    """Let everything that is asked for by an address be the context that the package `rocrate` brings."""
    # It is that of RO-Crate 1.3, which names types of Bioschemas in another way than 1.1.
    text = (Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text(encoding="utf-8")
    context = json.loads(re.sub("bioschemas.org/(terms|properties)/", "bioschemas.org/", text))
    answer = SimpleNamespace(
        status_code=200, headers={"Content-Type": "application/ld+json"}, json=lambda: context
    )
    read = jsonld.source_to_json

    def source_to_json(source, *arguments, **keywords):
        afar = str(source).startswith("https://w3id.org/ro/crate/")
        return (context, None) if afar else read(source, *arguments, **keywords)

    jsonld.source_to_json = source_to_json
    http.HttpRequester.get = lambda self, address, **keywords: answer


def issues(folder: str) -> list[str]:
    """Violations of what the profile requires."""
    settings = ValidationSettings(
        rocrate_uri=folder,
        profile_identifier="workflow-run-crate",
        requirement_severity=Severity.REQUIRED,
    )
    found = services.validate(settings).get_issues(Severity.REQUIRED)
    return [f"{issue.check.identifier}: {issue.message}" for issue in found]


if __name__ == "__main__":
    stay_at_home()
    print(json.dumps(issues(sys.argv[1])))
