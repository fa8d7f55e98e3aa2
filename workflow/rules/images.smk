"""Images: the gap between the particle's outer edge and its lattice."""


rule measure_image:
    """The layer along the particle's contour, with its detection limit."""
    input:
        signal="<results>/signals/{acquisition}.h5",
        pristine=pristine_images if ANY_PRISTINE else [],
    output:
        layer="<results>/images/{acquisition}/layer.tsv",
        overlay="<results>/images/{acquisition}/overlay.h5",
        measurements="<results>/images/{acquisition}/measurements.tsv",
        summary="<results>/images/{acquisition}/summary.json",
    log:
        "<logs>/measure_image/{acquisition}.log",
    benchmark:
        "<benchmarks>/measure_image/{acquisition}.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2500),  # a few Fourier transforms of a 4096 x 4096 image
    params:
        config=sections("images", "layer", "statistics", "strict"),
        code=code_of("measure_image", "ceiflow.layer", "ceiflow.images"),
    script:
        "../scripts/measure_image.py"
