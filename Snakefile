"""Plain `snakemake` in a checkout: the demo study, or whatever config/ describes."""


include: "workflow/Snakefile"


rule default:
    """Everything; an included file's own default target does not count."""
    default_target: True
    input:
        rules.all.input,
