"""Rows of claims.tsv: every registered claim with its numbers, verdict and reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ceiflow.statistics.absence import absence
from ceiflow.statistics.censoring import MOST_CENSORED, censored_mean
from ceiflow.statistics.composition import with_log_ratios
from ceiflow.statistics.contrasts import holm
from ceiflow.statistics.difference import difference
from ceiflow.statistics.findings import CANNOT_TELL, SUPPORTED, Finding, level, shown
from ceiflow.statistics.interval import interval
from ceiflow.statistics.pooled import sentence as fitted_as_one
from ceiflow.statistics.registration import claim_digest
from ceiflow.statistics.selection import Group, axis_caveat, dose_caveat, select, template_caveat, zone_of
from ceiflow.statistics.tables import Row
from ceiflow.study import seed_for
from ceiflow.study.measurements import unit

CLAIM_COLUMNS = [
    "claim_id",
    "kind",
    "endpoint",
    "zone",
    "test",
    "reference",
    "estimate",
    "unit",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "p_min",
    "n_cells_test",
    "n_cells_reference",
    "n_acquisitions",
    "lod",
    "margin",
    "verdict",
    "reason",
    "group",
    "modality",
    "direction",
    "low",
    "high",
    "prevalence",
    "prevalence_low",
    "prevalence_high",
    "max_prevalence",
    "p_permutation",
    "p_basis",
    "hedges_g",
    "n_bounded",
    "alpha",
    "note",
    "digest",
    "design",
    "mixed_estimate",
    "mixed_low",
    "mixed_high",
    "mixed_p",
    "mixed_df",
    "mixed_note",
    "prevalence_high_beta_binomial",
    "prevalence_cells_high",
    "censored_fraction",
    "censored_mean",
    "censored_low",
    "censored_high",
    "registered",
]
CLOSED = "fractions of one spectrum add up to 1: a rise of one may be a fall of another (log_ratio does not)"
# Fractions of something: their intervals are those of proportions.
FRACTIONS = ("layer_coverage", "layer_amorphous_fraction")


def claim_rows(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claims: Sequence[Mapping[str, object]],
    statistics: Mapping[str, object],
    pooled: Sequence[Row] = (),
) -> list[Row]:
    """Judge claims.

    Parameters
    ----------
    measurements, cells : sequences of dict
        Rows of measurements.tsv and of cells.tsv (texts or numbers).
    claims : sequence of mappings
        The configuration's `claims`, in order.
    statistics : mapping
        The configuration's `statistics`: alpha, seed, resamples, intraclass_correlation.
    pooled : sequence of dict
        Rows of tables/pooled.tsv: cells whose shares come from one fit to all of their spectra.

    Returns
    -------
    list of dict
        One row a claim, in their order, with `CLAIM_COLUMNS`. `p_adjusted` is Holm's over the claims that
        have a p-value; intervals are each claim's own. `p_basis` is the test of `p_value`, and `p_min` the
        least p of `p_permutation` (of flipped signs for an absence): a t test may fall below it.
    """
    measurements = with_log_ratios(measurements, [str(claim["endpoint"]) for claim in claims])
    judged = [_judge(measurements, cells, claim, statistics, pooled) for claim in claims]
    adjusted = holm([finding.p for finding, _, _ in judged])
    family = sum(p is not None for p in adjusted)
    return [
        _row(claim, zone_of(claim, measurements), finding, groups, p, family, _alpha(claim, statistics), dose)
        for claim, (finding, groups, dose), p in zip(claims, judged, adjusted, strict=True)
    ]


def _judge(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claim: Mapping[str, object],
    statistics: Mapping[str, object],
    pooled: Sequence[Row] = (),
) -> tuple[Finding, list[Group], str]:
    """Finding, groups and dose caveat of one claim."""
    alpha, endpoint = _alpha(claim, statistics), str(claim["endpoint"])
    kind, zone = claim["kind"], zone_of(claim, measurements)
    names = ("test", "reference") if kind == "difference" else ("group",)
    groups = [
        select(measurements, cells, endpoint, zone, claim.get(name) or {}, claim.get("modality"), pooled)
        for name in names
    ]
    factors = _columns(claim.get("factors"))
    if kind == "difference":
        direction = str(claim.get("direction") or "two_sided")
        seed, pairs = _seed(statistics, str(claim["id"])), _columns(claim.get("paired_by"))
        finding = difference(*groups, direction, alpha, int(statistics["resamples"]), seed, factors, pairs)
    elif kind == "absence":
        limit = claim.get("max_prevalence")
        correlation = float(statistics["intraclass_correlation"])
        margin = float(claim["margin"])
        most = None if limit is None else float(limit)
        share = correlation if endpoint in FRACTIONS else None
        finding = absence(*groups, endpoint, margin, most, alpha, correlation, factors, share)
    elif kind in ("interval", "proportion"):
        low, high = (float(claim.get(name, end)) for name, end in (("low", 0.0), ("high", 1.0)))
        correlation = float(statistics["intraclass_correlation"])
        share = correlation if kind == "proportion" or endpoint in FRACTIONS else None
        finding = interval(*groups, endpoint, low, high, alpha, share, factors)
    else:
        raise ValueError(f"claim {claim['id']}: kind {kind!r} is not known")
    if kind != "difference":
        numbers, sentence = censored(groups[0], alpha)
        finding.numbers |= numbers
        finding.reasons += sentence
    whole = fitted_as_one([cell for group in groups for cell in group.cells])
    closed = CLOSED if kind == "difference" and endpoint.startswith("atomic_fraction_") else ""
    finding.reasons += [
        text for text in (closed, whole, axis_caveat(groups), template_caveat(groups)) if text
    ]
    return finding, groups, dose_caveat(endpoint, groups, measurements)


def censored(group: Group, alpha: float) -> tuple[dict[str, float | None], list[str]]:
    """The mean of cells by interval-censored likelihood, where enough lies above detection limits.

    Beside the two ends that a verdict has to hold at. Where more than 70 % of the acquisitions are below
    their limits there is an upper bound and no mean.
    """
    if not group.n_bounded:
        return {}, []
    share = group.n_bounded / group.n_acquisitions
    numbers: dict[str, float | None] = {"censored_fraction": share}
    if share > MOST_CENSORED:
        return numbers, [f"{shown(100 * share)} % below detection limits: an upper bound, and no mean"]
    found = censored_mean(group.low, group.high, alpha)
    if found is None:
        return numbers, []
    numbers |= {"censored_mean": found.mean, "censored_low": found.low, "censored_high": found.high}
    return numbers, [
        f"interval-censored likelihood: mean {shown(found.mean)}, {level(alpha)} interval "
        f"{shown(found.low)} to {shown(found.high)}"
    ]


def _columns(names: object) -> list[str]:
    """Columns of the cells' sheet, written as one name, a list or nothing."""
    return [] if not names else [names] if isinstance(names, str) else [str(name) for name in names]


def _alpha(claim: Mapping[str, object], statistics: Mapping[str, object]) -> float:
    """Error rate of a claim: its own, else the study's."""
    return float(claim.get("alpha") or statistics["alpha"])


def _seed(statistics: Mapping[str, object], claim_id: str) -> int:
    """Seed of a claim's permutations: its own, whatever other claims there are."""
    return seed_for(int(statistics["seed"]), "permutation", claim_id)


def _row(
    claim: Mapping[str, object],
    zone: str,
    finding: Finding,
    groups: Sequence[Group],
    p_adjusted: float | None,
    family: int,
    alpha: float,
    dose: str,
) -> Row:
    """One row of claims.tsv."""
    verdict, missing = finding.verdict, list(finding.missing)
    if verdict == SUPPORTED and p_adjusted is not None and p_adjusted > alpha:
        verdict = CANNOT_TELL
        if finding.p <= alpha:
            both = f"p {shown(finding.p)} alone, {shown(p_adjusted)} among {family} claims"
            missing.insert(0, f"a stronger result ({both})")
    limits = [group.lod for group in groups if group.lod is not None]
    single = claim["kind"] != "difference"
    return {
        "claim_id": claim["id"],
        **{
            name: claim.get(name)
            for name in ("kind", "endpoint", "margin", "low", "high", "max_prevalence", "note")
        },
        "direction": None if single else claim.get("direction") or "two_sided",
        "zone": zone,
        "test": groups[0].name,
        "group": groups[0].name if single else None,
        "reference": None if single else groups[1].name,
        "modality": _listed(claim.get("modality")),
        "alpha": alpha,
        "unit": unit(str(claim["endpoint"])),
        **finding.numbers,
        "p_value": finding.p,
        "p_adjusted": p_adjusted,
        "n_cells_test": len(groups[0].cells),
        "n_cells_reference": None if single else len(groups[1].cells),
        "n_acquisitions": sum(group.n_acquisitions for group in groups),
        "n_bounded": sum(group.n_bounded for group in groups),
        "lod": max(limits, default=None),
        "verdict": verdict,
        "reason": _reason(verdict, finding.reasons, missing, dose),
        "digest": claim_digest(claim),
    }


def _reason(verdict: str, reasons: Sequence[str], missing: Sequence[str], dose: str) -> str:
    """What was found; first what is missing, where the claim cannot be told."""
    parts = [*reasons, dose]
    if verdict == CANNOT_TELL:
        parts.insert(0, f"missing: {', and '.join(missing) or 'more cells'}")
    return "; ".join(part for part in parts if part)


def _listed(modality: object) -> str:
    if not modality:
        return ""
    return modality if isinstance(modality, str) else "|".join(str(item) for item in modality)
