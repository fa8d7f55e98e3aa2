"""Figures, pages, provenance, manifest."""


rule plot_study:
    """The study's figures, each as SVG and PNG."""
    input:
        claims="<results>/tables/claims.tsv",
        cells="<results>/tables/cells.tsv",
        measurements="<results>/tables/measurements.tsv",
        acquisitions="<results>/tables/acquisitions.tsv",
        heterogeneity="<results>/tables/heterogeneity.tsv",
        planning="<results>/tables/planning.tsv",
        sheet=CELLS_SHEET,
        captions=[workflow.source_path(f"../report/{name}.rst") for name in STUDY_FIGURES],
    output:
        report(
            "<results>/figures/claims.svg",
            category="What may be claimed?",
            labels={"figure": "registered claims"},
            caption=caption_of("claims"),
        ),
        report(
            "<results>/figures/layer_thickness.svg",
            category="Is there a layer, and how thick?",
            labels={"figure": "thickness by cell"},
            caption=caption_of("layer_thickness"),
        ),
        report(
            "<results>/figures/prevalence.svg",
            category="Is there a layer, and how thick?",
            labels={"figure": "how often"},
            caption=caption_of("prevalence"),
        ),
        report(
            "<results>/figures/layer_coverage.svg",
            category="How much of the surface?",
            labels={"figure": "coverage by cell"},
            caption=caption_of("layer_coverage"),
        ),
        report(
            "<results>/figures/composition.svg",
            category="What is it made of?",
            labels={"figure": "composition by zone"},
            caption=caption_of("composition"),
        ),
        report(
            "<results>/figures/heterogeneity.svg",
            category="How far do cells, particles and regions differ?",
            labels={"figure": "variance by level"},
            caption=caption_of("heterogeneity"),
        ),
        report(
            "<results>/figures/planning.svg",
            category="How many cells would tell?",
            labels={"figure": "power by cells"},
            caption=caption_of("planning"),
        ),
        collect(
            "<results>/figures/{figure}.{kind}",
            figure=STUDY_FIGURES,
            kind=["png", "tsv"],
        ),
        collect("<results>/figures/captions/{figure}.rst", figure=STUDY_FIGURES),
    log:
        "<logs>/plot_study/study.log",
    benchmark:
        "<benchmarks>/plot_study/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # one figure at a time
    params:
        dpi=config["report"]["dpi"],
        code=code_of("plot_study", "ceiflow.figures"),
    script:
        "../scripts/plot_study.py"


rule plot_panels:
    """The panels' examples as figures for a journal, each with the numbers in it."""
    input:
        tables=collect("<results>/tables/{table}.tsv", table=PANEL_TABLES),
        sheet=CELLS_SHEET,
        words=workflow.source_path("../report/panel.rst"),
        # Through these, whatever is drawn of any acquisition.
        cells=collect("<results>/reports/cells/{cell}.html", cell=CELLS),
        drawn=drawn_elsewhere(),
    output:
        [in_report(figure) for figure in PANEL_FIGURES],
        collect(
            "<results>/figures/{figure}.{kind}",
            figure=[*PANEL_FIGURES],
            kind=["png", "tsv"],
        ),
        collect("<results>/figures/captions/{figure}.rst", figure=[*PANEL_FIGURES]),
    log:
        "<logs>/plot_panels/study.log",
    benchmark:
        "<benchmarks>/plot_panels/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # one figure at a time
    params:
        dpi=config["report"]["dpi"],
        claims=config["claims"],  # whose margins the panels take over
        names=[*PANEL_FIGURES],
        code=code_of("plot_panels", "ceiflow.figures", "ceiflow.report"),
    script:
        "../scripts/plot_panels.py"


rule record_provenance:
    """The configuration that ran, versions, inputs and seeds."""
    input:
        sources="<results>/study/sources.json",
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
        mem_mb=by_attempt(500),  # text
    params:
        config=STUDY.config,
        code={room: module_digest(f"ceiflow.{room}") for room in ROOMS},
        own=code_of("record_provenance", "ceiflow.study"),
    script:
        "../scripts/record_provenance.py"


rule study_page:
    """The page to read first."""
    input:
        notebook=workflow.source_path("../../notebooks/study.ipynb"),
        tables=collect("<results>/tables/{table}.tsv", table=TABLES),
        study=["<results>/study/config.yaml", "<results>/study/provenance.json"],
        sheet=CELLS_SHEET,
        # Through these, whatever is drawn of any acquisition.
        cells=collect("<results>/reports/cells/{cell}.html", cell=CELLS),
        drawn=drawn_elsewhere(),
    output:
        notebook="<results>/reports/study.ipynb",
        page=report(
            "<results>/reports/study.html",
            category="The study's own page",
            labels={"page": "study"},
            caption="../report/study.rst",
        ),
    log:
        "<logs>/study_page/study.log",
    benchmark:
        "<benchmarks>/study_page/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # one figure at a time, and the page
    params:
        parameters={},
        depth=1,
        code=code_of("render_page", "ceiflow.figures", "ceiflow.report"),
    script:
        "../scripts/render_page.py"


rule cell_page:
    """Every acquisition of one cell."""
    input:
        notebook=workflow.source_path("../../notebooks/cell.ipynb"),
        # A row of another cell does not make this page stale: its own rows stand in the parameters.
        sheet=ancient(CELLS_SHEET),
        acquisitions=ancient(ACQUISITIONS_SHEET),
        drawn=cell_files,
    output:
        notebook="<results>/reports/cells/{cell}.ipynb",
        page="<results>/reports/cells/{cell}.html",
    log:
        "<logs>/cell_page/{cell}.log",
    benchmark:
        "<benchmarks>/cell_page/{cell}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # one figure at a time, and the page
    params:
        parameters=cell_name,
        rows=cell_sheet_rows,
        depth=2,
        code=code_of("render_page", "ceiflow.figures", "ceiflow.report", "ceiflow.statistics"),
    script:
        "../scripts/render_page.py"


rule index_pages:
    """The page that ties all pages."""
    input:
        tables=collect("<results>/tables/{table}.tsv", table=TABLES),
        config="<results>/study/config.yaml",
        sheet=CELLS_SHEET,
    output:
        page="<results>/reports/index.html",
    log:
        "<logs>/index_pages/study.log",
    benchmark:
        "<benchmarks>/index_pages/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(500),  # text
    params:
        code=code_of("index_pages", "ceiflow.figures", "ceiflow.report"),
    script:
        "../scripts/index_pages.py"


rule explore_spectra:
    """Move over one spectrum image, and see the spectra and their models."""
    input:
        signal="<results>/calibrated/{acquisition}.h5",
        edges=ancient("<results>/study/edges.h5"),
        maps="<results>/eels/{acquisition}/maps.h5",
    output:
        page="<results>/reports/explorer/{acquisition}.html",
    log:
        "<logs>/explore_spectra/{acquisition}.log",
    benchmark:
        "<benchmarks>/explore_spectra/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2000),  # a page's worth of spectra, and one block to pool
    params:
        config=sections("eels", "detector"),
        code=code_of("explore_spectra", "ceiflow.report.explorer", "ceiflow.report.template", "ceiflow.eels"),
    script:
        "../scripts/explore_spectra.py"


rule write_manifest:
    """Digests of everything canonical, for `sha256sum -c`."""
    input:
        collect("<results>/tables/{table}.tsv", table=TABLES),
        collect(
            "<results>/figures/{figure}.{kind}",
            figure=[*STUDY_FIGURES, *PANEL_FIGURES],
            kind=["svg", "png", "tsv"],
        ),
        "<results>/study/config.yaml",
        "<results>/study/edges.h5",
        "<results>/reports/study.html",
        "<results>/reports/index.html",
        collect("<results>/reports/cells/{cell}.html", cell=CELLS),
        collect("<results>/reports/explorer/{name}.html", name=MAPS),
        collect("<results>/eels/{name}/{name}.hspy", name=EXPORTED),
        drawn_elsewhere(),
    output:
        manifest="<results>/MANIFEST.sha256",
    log:
        "<logs>/write_manifest/study.log",
    benchmark:
        "<benchmarks>/write_manifest/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(200),  # read in pieces
    params:
        # Made for the cells' pages. A tuple: Snakemake looks for wildcards in every text of a list.
        drawn=tuple(path.removeprefix("<results>/") for path in drawn({*ACQUISITIONS})),
        code=code_of("write_manifest", "ceiflow.study"),
    script:
        "../scripts/write_manifest.py"
