"""Spectra: energy axis, cross-sections, fit, layer."""


# A single spectrum has no surface, so it goes another way to the same places.
ruleorder: measure_spectrum > measure_spectrum_image


# Oscillator strengths that the cross-sections are made of, where they come from a file; `retrieve` may make it.
GOSH = [config["eels"]["gosh_file"]] if config["eels"]["cross_sections"] == "gosh" else []
# Reference spectra that fine structure is read with; `retrieve` may make them.
REFERENCES = [item["path"] for item in config["fine_structure"]["references"]]
# The table grows with every new microscope setting, and what stands in it for another one changes nothing. What a
# setting's entries depend on (`eels`, code, `GOSH`, the signal's own header) reruns each job by itself: so `ancient`.

# Spectrum images that HyperSpy gets a file of.
EXPORTED = MAPS if config["report"]["hyperspy"] else []


rule calibrate:
    """Energy axes put right on the zero-loss peak and on edges, with the residual of each."""
    input:
        signal="<results>/signals/{acquisition}.h5",
    output:
        signal="<results>/calibrated/{acquisition}.h5",
    log:
        "<logs>/calibrate/{acquisition}.log",
    benchmark:
        "<benchmarks>/calibrate/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2000),  # a few blocks of the largest signal
    params:
        config=sections("eels", "detector", "strict"),
        code=code_of("calibrate", "ceiflow.eels"),
    script:
        "../scripts/calibrate.py"


rule list_settings:
    """Microscope settings that occur; many ask for the cross-sections, and each goes over the inputs of that job."""
    input:
        signals=collect("<results>/signals/{name}.h5", name=MAPS + SPECTRA),
    output:
        settings="<results>/study/settings.json",
    log:
        "<logs>/list_settings/study.log",
    benchmark:
        "<benchmarks>/list_settings/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(500),  # headers
    params:
        code=code_of("list_settings", "ceiflow.eels"),
    script:
        "../scripts/list_settings.py"


rule edges:
    """Cross-sections and edge shapes, once for every microscope setting that occurs."""
    input:
        settings="<results>/study/settings.json",
        gosh=GOSH,
    output:
        edges="<results>/study/edges.h5",
    log:
        "<logs>/edges/study.log",
    benchmark:
        "<benchmarks>/edges/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1500),  # eXSpy and what it imports
    params:
        config=sections("eels"),
        code=code_of("edges", "ceiflow.eels"),
    script:
        "../scripts/edges.py"


rule quantify:
    """Areal densities, fractions and t/lambda of every pixel, with their errors."""
    input:
        signal="<results>/calibrated/{acquisition}.h5",
        edges=ancient("<results>/study/edges.h5"),
        gosh=GOSH,
    output:
        fit="<results>/eels/{acquisition}/fit.h5",
    log:
        "<logs>/quantify/{acquisition}.log",
    benchmark:
        "<benchmarks>/quantify/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2000),  # two blocks of pixels and their weights
    params:
        config=sections("eels", "detector", "strict"),
        code=code_of("quantify", "ceiflow.eels"),
    script:
        "../scripts/quantify.py"


rule dose_series:
    """What fades and what grows along the frames of one region, named by the first of them."""
    input:
        signals=frames_of_region,
        edges=ancient("<results>/study/edges.h5"),
        gosh=GOSH,
        references=REFERENCES,
    output:
        dose="<results>/dose/{acquisition}.json",
    log:
        "<logs>/dose_series/{acquisition}.log",
    benchmark:
        "<benchmarks>/dose_series/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,  # frames are summed one after the other
    params:
        frames=frame_rows,
        folder=JOB_FOLDER.as_posix(),
        config=sections("eels", "fine_structure", "detector"),
        code=code_of("dose_series", "ceiflow.eels"),
    script:
        "../scripts/dose_series.py"


rule measure_spectrum_image:
    """The layer along the surface, zones, and what each is made of."""
    input:
        signal="<results>/calibrated/{acquisition}.h5",
        edges=ancient("<results>/study/edges.h5"),
        gosh=GOSH,
        fit="<results>/eels/{acquisition}/fit.h5",
        dose=dose_file if ANY_SERIES else [],
        references=REFERENCES,
    output:
        maps="<results>/eels/{acquisition}/maps.h5",
        layer="<results>/eels/{acquisition}/layer.tsv",
        spectra="<results>/eels/{acquisition}/spectra.tsv",
        fine_structure="<results>/eels/{acquisition}/fine_structure.json",
        measurements="<results>/eels/{acquisition}/measurements.tsv",
        summary="<results>/eels/{acquisition}/summary.json",
    log:
        "<logs>/measure_spectrum_image/{acquisition}.log",
    benchmark:
        "<benchmarks>/measure_spectrum_image/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2000),  # zone spectra are summed by blocks
    params:
        folder=JOB_FOLDER.as_posix(),
        config=sections("eels", "fine_structure", "detector", "layer", "statistics", "strict"),
        code=code_of("measure_spectrum_image", "ceiflow.layer", "ceiflow.eels"),
    script:
        "../scripts/measure_spectrum_image.py"


rule export_hyperspy:
    """Core loss and maps as one file that HyperSpy opens."""
    input:
        signal="<results>/calibrated/{acquisition}.h5",
        maps="<results>/eels/{acquisition}/maps.h5",
    output:
        export="<results>/eels/{acquisition}/{acquisition}.hspy",
    log:
        "<logs>/export_hyperspy/{acquisition}.log",
    benchmark:
        "<benchmarks>/export_hyperspy/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(500),  # copied by rows
    params:
        code=code_of("export_hyperspy", "ceiflow.eels"),
    script:
        "../scripts/export_hyperspy.py"


rule measure_spectrum:
    """What a single spectrum holds; it has no surface."""
    input:
        signal="<results>/calibrated/{acquisition}.h5",
        edges=ancient("<results>/study/edges.h5"),
        gosh=GOSH,
        dose=dose_file if ANY_SERIES else [],
        references=REFERENCES,
    output:
        spectra="<results>/eels/{acquisition}/spectra.tsv",
        fine_structure="<results>/eels/{acquisition}/fine_structure.json",
        measurements="<results>/eels/{acquisition}/measurements.tsv",
        summary="<results>/eels/{acquisition}/summary.json",
    log:
        "<logs>/measure_spectrum/{acquisition}.log",
    benchmark:
        "<benchmarks>/measure_spectrum/{acquisition}.tsv"
    wildcard_constraints:
        acquisition=one_of(SPECTRA),
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # one spectrum
    params:
        folder=JOB_FOLDER.as_posix(),
        config=sections("eels", "fine_structure", "detector", "statistics", "strict"),
        code=code_of("measure_spectrum", "ceiflow.eels"),
    script:
        "../scripts/measure_spectrum.py"
