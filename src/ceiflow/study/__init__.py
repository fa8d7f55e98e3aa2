"""The study: configuration, sheets, metadata with their origin, provenance.

Light, since every job imports it.
"""

from ceiflow.study.claims import matches
from ceiflow.study.config import default_config, load_config
from ceiflow.study.digests import file_sha256, module_digest, seed_for, source_digest
from ceiflow.study.manifest import write_manifest
from ceiflow.study.provenance import write_config, write_provenance
from ceiflow.study.validation import Study, absent_files, load_study, validate

__all__ = [
    "Study",
    "absent_files",
    "default_config",
    "file_sha256",
    "load_config",
    "load_study",
    "matches",
    "module_digest",
    "seed_for",
    "source_digest",
    "validate",
    "write_config",
    "write_manifest",
    "write_provenance",
]
