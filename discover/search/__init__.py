"""Symbolic search: engines that propose expressions for samples of an update.

Importing this package is cheap: an engine and the libraries it needs are loaded when it is asked for. Start
with :func:`discover.search.engine.resolve`.
"""
