"""The superposition study: `cutaway run superposition`."""
