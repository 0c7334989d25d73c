"""`cutaway sae train`, `eval`, `features`, `convert`: dictionaries from the command line."""
