"""Raw files of the demo study, simulated with a known truth that no other rule reads."""

DEMO_DESIGN = workflow.source_path("../../config/demo/design.yaml")


def demo_files():
    """The sheets' raw files that the demo's design makes; none in a study that is not the demo."""
    if not config["demo"]:
        return []
    from ceiflow.phantom.design import design_files

    wanted = {path for row in ACQUISITIONS.values() for path in raw_paths(row)}
    made = design_files(yaml.safe_load(Path(DEMO_DESIGN).read_text()))
    return sorted(wanted.intersection(made))


DEMO_FILES = demo_files()

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
            mem_mb=2000,  # one spectrum image in double precision for each process
        params:
            acquisitions=sorted(ACQUISITIONS),
            seed=config["statistics"]["seed"],
            code=module_digest("ceiflow.phantom"),
        script:
            "../scripts/simulate_demo.py"
