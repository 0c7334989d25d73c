"""Whole studies: from a model to a saved run and its report, one package for each."""
