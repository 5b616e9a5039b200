"""Searching: measure, ask a judge, measure more, until it knows."""
