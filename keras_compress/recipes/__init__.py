"""Ready-made runs: data, models and training recipes that demos and papers share."""
