"""Figures, pages, provenance, manifest."""


rule plot_study:
    """The study's figures, each as SVG and PNG."""
    input:
        claims="<results>/tables/claims.tsv",
        cells="<results>/tables/cells.tsv",
        measurements="<results>/tables/measurements.tsv",
        heterogeneity="<results>/tables/heterogeneity.tsv",
    output:
        claims=report(
            multiext("<results>/figures/claims", png=".png", svg=".svg"),
            category="What may be claimed?",
            labels={"figure": "all claims"},
            caption="../report/claims.rst",
        ),
        thickness=report(
            multiext("<results>/figures/layer_thickness", png=".png", svg=".svg"),
            category="Is there a layer, and how thick?",
            labels={"figure": "thickness by cell"},
            caption="../report/layer_thickness.rst",
        ),
    log:
        "<logs>/plot_study/study.log",
    benchmark:
        "<benchmarks>/plot_study/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,  # one figure at a time
    params:
        config=sections("report"),
        code=module_digest("ceiflow.figures"),
    script:
        "../scripts/plot_study.py"


rule record_provenance:
    """The configuration that ran, versions, inputs and seeds."""
    input:
        acquisitions="<results>/tables/acquisitions.tsv",
    output:
        config="<results>/study/config.yaml",
        provenance="<results>/study/provenance.json",
    log:
        "<logs>/record_provenance/study.log",
    benchmark:
        "<benchmarks>/record_provenance/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=500,  # text
    params:
        config=STUDY.config,
        code=module_digest("ceiflow.study"),
    script:
        "../scripts/record_provenance.py"
