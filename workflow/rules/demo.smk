"""Raw files of the demo study, simulated with a known truth that no other rule reads."""

if DEMO_FILES:

    rule simulate_demo:
        """Instrument files of the demo study."""
        input:
            design=DEMO_DESIGN,
        output:
            raw=DEMO_FILES,
            truth="truth/demo/truth.tsv",
        log:
            "<logs>/simulate_demo/demo.log",
        benchmark:
            "<benchmarks>/simulate_demo/demo.tsv"
        conda:
            "../../envs/demo.yaml"
        threads: 2
        resources:
            mem_mb=by_attempt(2000),  # one spectrum image in double precision for each process
        params:
            acquisitions=sorted(ACQUISITIONS),
            folder=JOB_FOLDER.as_posix(),
            seed=config["statistics"]["seed"],
            code=code_of("simulate_demo", "ceiflow.phantom"),
        script:
            "../scripts/simulate_demo.py"
