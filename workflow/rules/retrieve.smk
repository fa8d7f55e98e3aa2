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
