"""From acquisitions to cells to claims."""


rule collect_measurements:
    """One table of measurements and one of acquisitions, failed and excluded ones included."""
    input:
        measurements=measured("measurements.tsv"),
        summaries=measured("summary.json"),
        cells=CELLS_SHEET,
        acquisitions=ACQUISITIONS_SHEET,
    output:
        measurements="<results>/tables/measurements.tsv",
        acquisitions="<results>/tables/acquisitions.tsv",
        # For the provenance, which would else go through all summaries once more.
        sources="<results>/study/sources.json",
    log:
        "<logs>/collect_measurements/study.log",
    benchmark:
        "<benchmarks>/collect_measurements/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # tables of thousands of acquisitions
    params:
        code=code_of("collect_measurements", "ceiflow.statistics", "ceiflow.study.provenance"),
    script:
        "../scripts/collect_measurements.py"


rule aggregate_cells:
    """Acquisition to region to particle to cell, and the variance at each level."""
    input:
        measurements="<results>/tables/measurements.tsv",
        cells=CELLS_SHEET,
        maps=collect("<results>/eels/{name}/maps.h5", name=MAPS),
    output:
        cells="<results>/tables/cells.tsv",
        heterogeneity="<results>/tables/heterogeneity.tsv",
    log:
        "<logs>/aggregate_cells/study.log",
    benchmark:
        "<benchmarks>/aggregate_cells/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # tables of thousands of acquisitions
    params:
        config=sections("statistics"),
        code=code_of("aggregate_cells", "ceiflow.statistics"),
    script:
        "../scripts/aggregate_cells.py"


rule pool_species:
    """Species of every cell by one fit to all of its spectra, for the claims."""
    input:
        contents=collect("<results>/eels/{name}/fine_structure.json", name=MAPS + SPECTRA),
    output:
        pooled="<results>/tables/pooled.tsv",
    log:
        "<logs>/pool_species/study.log",
    benchmark:
        "<benchmarks>/pool_species/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # likelihoods of thousands of spectra
    params:
        acquisitions=[spectrum_row(name) for name in MAPS + SPECTRA],
        code=code_of("pool_species", "ceiflow.eels"),
    script:
        "../scripts/pool_species.py"


rule judge_claims:
    """Estimate, interval and verdict of every registered claim."""
    input:
        measurements="<results>/tables/measurements.tsv",
        pooled="<results>/tables/pooled.tsv",
        cells=CELLS_SHEET,
    output:
        claims="<results>/tables/claims.tsv",
        exploration="<results>/tables/exploration.tsv",
        # Kept from run to run: says whether claims were changed since the first.
        registration=kept_here(update("<results>/study/registration.json")),
    log:
        "<logs>/judge_claims/study.log",
    benchmark:
        "<benchmarks>/judge_claims/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # tables of thousands of acquisitions
    params:
        config=sections("claims", "statistics"),
        code=code_of("judge_claims", "ceiflow.statistics"),
    script:
        "../scripts/judge_claims.py"


rule judge_panels:
    """Is each panel of the study reached or refuted? Judged like claims, each by itself."""
    input:
        measurements="<results>/tables/measurements.tsv",
        pooled="<results>/tables/pooled.tsv",
        cells=CELLS_SHEET,
    output:
        claims="<results>/tables/panels.tsv",
    log:
        "<logs>/judge_panels/study.log",
    benchmark:
        "<benchmarks>/judge_panels/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # tables of thousands of acquisitions
    params:
        config={"claims": PANELS, **sections("statistics")},
        code=code_of("judge_panels", "ceiflow.statistics"),
    script:
        "../scripts/judge_panels.py"


rule plan_study:
    """Cells, particles and regions that each claim needs, from the variances that were seen."""
    input:
        measurements="<results>/tables/measurements.tsv",
        cells=CELLS_SHEET,
        claims="<results>/tables/claims.tsv",
    output:
        planning="<results>/tables/planning.tsv",
    log:
        "<logs>/plan_study/study.log",
    benchmark:
        "<benchmarks>/plan_study/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # tables of thousands of acquisitions
    params:
        config=sections("claims", "statistics"),
        code=code_of("plan_study", "ceiflow.statistics"),
    script:
        "../scripts/plan_study.py"
