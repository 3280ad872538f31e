"""Measure what a clinician would read off a CT: organs, volumes, widths, nodules, radiographs."""
