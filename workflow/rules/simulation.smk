"""Errors of the statistics over simulated studies: `make simulation`. No study has to be there."""

from ceiflow.statistics.grid import scenarios

SIMULATED = scenarios()


rule simulation:
    """The whole grid, as a table and a page."""
    input:
        "<results>/simulation/simulation.tsv",
        "<results>/simulation/simulation.md",


rule simulate_statistics:
    """One cell of the grid: 1000 studies of one design."""
    output:
        "<results>/simulation/grid/{scenario}.tsv",
    log:
        "<logs>/simulate_statistics/{scenario}.log",
    benchmark:
        "<benchmarks>/simulate_statistics/{scenario}.tsv"
    wildcard_constraints:
        scenario=one_of(SIMULATED),
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,  # all pixels of all runs at once
    params:
        seed=config["statistics"]["seed"],
        code=code_of("simulate_statistics", "ceiflow.statistics"),
    script:
        "../scripts/simulate_statistics.py"


rule tabulate_simulation:
    """All cells of the grid side by side."""
    input:
        collect("<results>/simulation/grid/{scenario}.tsv", scenario=SIMULATED),
    output:
        table="<results>/simulation/simulation.tsv",
        page="<results>/simulation/simulation.md",
    log:
        "<logs>/tabulate_simulation/study.log",
    benchmark:
        "<benchmarks>/tabulate_simulation/study.tsv"
    conda:
        "../../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=200,  # text
    params:
        seed=config["statistics"]["seed"],
        code=code_of("tabulate_simulation", "ceiflow.statistics"),
    script:
        "../scripts/tabulate_simulation.py"
