"""One measurement on any task and any model: `cutaway patch`, `paths`, `edges`, `attribute`."""
