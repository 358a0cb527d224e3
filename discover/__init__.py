"""From simulations to laws: tasks, coefficient fit, symbolic search, validation, comparison and export.

Importing this package is cheap; import what you need from its modules, for example
``from discover.rule import Rule``.
"""
