"""Instrument files into canonical signal files."""


rule ingest:
    """Data, axes in eV and nm, and metadata with their origin; or the reason why not."""
    input:
        raw=raw_input,
    output:
        signal="<results>/signals/{acquisition}.h5",
    log:
        "<logs>/ingest/{acquisition}.log",
    benchmark:
        "<benchmarks>/ingest/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2500),  # `reading.memory_MB` and the program
    params:
        recorded=recorded,
        folder=JOB_FOLDER.as_posix(),
        config=sections("microscope", "reading", "strict"),
        code=code_of("ingest", "ceiflow.signals"),
    script:
        "../scripts/ingest.py"
