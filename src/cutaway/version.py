"""The version of Cutaway, in the one place that the build and the run records read."""

__version__ = "0.1.0"
