"""Formulas of the methods as MathML, which every browser draws without a script or a font from elsewhere."""

from __future__ import annotations

from ceiflow.report.html import Markup, tag


def i(name: str) -> Markup:
    """An identifier, or a word where it has several letters."""
    return tag("mi", name)


def n(value: object) -> Markup:
    """A number."""
    return tag("mn", value)


def o(sign: str) -> Markup:
    """An operator."""
    return tag("mo", sign)


def sub(base: Markup, index: Markup) -> Markup:
    """A symbol with an index."""
    return tag("msub", base, index)


def sup(base: Markup, index: Markup) -> Markup:
    """A power."""
    return tag("msup", base, index)


def ratio(above: Markup, below: Markup) -> Markup:
    """A fraction."""
    return tag("mfrac", above, below)


def row(*parts: Markup) -> Markup:
    """Parts one after the other."""
    return tag("mrow", *parts)


def formula(text: str, *parts: Markup) -> Markup:
    """A formula on a line of its own; `text` says it where it cannot be drawn."""
    body = row(*parts)
    math = tag("math", body, xmlns="http://www.w3.org/1998/Math/MathML", display="block", alttext=text)
    return tag("div", math, class_="scroll formula", tabindex="0", role="region", aria_label=text)


def areal_density() -> Markup:
    """Atoms per area from the fitted amplitude of an edge."""
    return formula(
        "N = theta / (r I): areal density from the amplitude of an edge, the counts of the low loss and the "
        "ratio of the exposures",
        *(sub(i("N"), i("j")), o("="), ratio(sub(i("θ"), i("j")), row(i("r"), o("⁢"), i("I")))),
    )


def thickness() -> Markup:
    """The log-ratio."""
    return formula(
        "t / lambda = ln(I / I0): thickness from all low-loss counts and those of the zero loss",
        ratio(i("t"), i("λ")),
        *(o("="), i("ln"), o("⁡"), ratio(i("I"), sub(i("I"), n("0")))),
    )


def image_limit() -> Markup:
    """The detection limit of an image."""
    terms = [
        tag("msqrt", row(i("λ"), o("⁢"), tag("mrow", o("|"), i("Δf"), o("|")))),
        ratio(row(i("λ"), o("⁢"), tag("mrow", o("|"), i("Δf"), o("|"))), i("d")),
        ratio(i("w"), n("2")),
        row(i("z"), o("⁢"), i("tan"), o("⁡"), i("ϑ")),
        row(n("3.29"), o("⁢"), i("s")),
    ]
    listed: list[Markup] = []
    for index, term in enumerate(terms):
        listed += [o(","), term] if index else [term]
    return formula(
        "limit = max(sqrt(lambda |defocus|), lambda |defocus| / d, w / 2, z tan(tilt), 3.29 s) times "
        "sqrt(1 + 1/n)",
        *(sub(i("t"), tag("mtext", "limit")), o("="), i("max"), o("("), *listed, o(")")),
        tag("msqrt", row(n("1"), o("+"), ratio(n("1"), i("n")))),
    )


def of_methods(config: dict) -> list[Markup]:
    """The formulas behind a run's numbers, each with what its letters mean."""
    from ceiflow.report.html import paragraph

    parts: list[Markup] = []
    if (config.get("eels") or {}).get("elements"):
        parts += [
            areal_density(),
            paragraph(
                "Areal density of an element from the fitted amplitude θ of its cross-section; I: counts of "
                "the low loss, r: exposure of the core loss over that of the low loss.",
                class_="soft",
            ),
            thickness(),
            paragraph(
                "Thickness t in mean free paths λ from all low-loss counts I, with their tail, "
                "and those of the zero loss (Egerton 2011, section 5.1).",
                class_="soft",
            ),
        ]
    if config.get("images"):
        parts += [
            image_limit(),
            paragraph(
                "Detection limit of a high-resolution image: Fresnel width, delocalisation of the fringes of "
                "spacing d (λ: wavelength, Δf: defocus), half of the window w, recession of the lattice of a "
                "facet tilted by ϑ over the depth z, scatter s of n pristine gaps at like defocus.",
                class_="soft",
            ),
        ]
    return parts


def references(config: dict) -> list[str]:
    """Works that the methods of this run rest on."""
    eels, found = config.get("eels") or {}, []
    if eels.get("elements"):
        found.append(
            "Egerton R. F. (2011) Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., "
            "Springer."
        )
    if eels.get("density_g_per_cm3"):
        found.append(
            "Iakoubovskii K., Mitsuishi K., Nakayama Y., Furuya K. (2008) Microscopy Research and Technique "
            "71, 626–631."
        )
    if eels.get("formula"):
        found.append(
            "Malis T., Cheng S. C., Egerton R. F. (1988) Journal of Electron Microscopy Technique 8, 193–200."
        )
    claims = config.get("claims") or []
    if any(claim.get("kind") == "difference" for claim in claims):
        found.append("Welch B. L. (1947) Biometrika 34, 28–35.")
    if claims:
        found.append("Holm S. (1979) Scandinavian Journal of Statistics 6, 65–70.")
    return found
