"""`cutaway train`: a model from its configuration, with bars, a record and a report."""
