"""The Shakespeare study: `cutaway run shakespeare`."""
