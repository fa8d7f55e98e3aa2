"""Public raw files, fetched from their address and held against their digest."""


rule retrieve:
    """One raw file from its public address, a mirror, or an installed package."""
    output:
        file="{retrieved}",
    log:
        "<logs>/retrieve/{retrieved}.log",
    benchmark:
        "<benchmarks>/retrieve/{retrieved}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(200),  # copied in pieces
    params:
        file=retrieved_file,
        mirror=config["retrieve"]["mirror"],
    script:
        "../scripts/retrieve.py"


rule fetch_reference:
    """One spectrum of the EELS Data Base; none unless `retrieve: eels_db` names it and it is not there."""
    output:
        spectrum="{reference}",
    log:
        "<logs>/fetch_reference/{reference}.log",
    benchmark:
        "<benchmarks>/fetch_reference/{reference}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(1000),  # eXSpy and what it imports
    params:
        entry=eels_db_entry,
    script:
        "../scripts/fetch_reference.py"


rule fetch_references:
    """All spectra of `retrieve: eels_db`, to have them before the network is gone."""
    input:
        list(EELS_DB),
