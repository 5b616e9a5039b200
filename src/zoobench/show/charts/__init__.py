"""The home of every chart: one function each, from rows to a `Chart`, used by Markdown, HTML and the dashboard alike.

Axes carry their units, and a backend has the same colour, safe for the colour-blind, in each of them.
"""
