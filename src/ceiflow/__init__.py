"""ceiflow: from raw cryo-(S)TEM/EELS files of battery cathodes to a defended answer."""

__version__ = "0.1.0"
