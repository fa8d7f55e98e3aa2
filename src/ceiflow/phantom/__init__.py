"""Room: phantom. Simulated studies whose truth is known; shares no code and no constant with the estimators.

`ceiflow.phantom.design` is light (standard library only) and is what a workflow imports;
`ceiflow.phantom.study` does the work.
"""
