"""The ``roman-nexus`` command: one file a command group, argument handling only."""
