"""Pictures for notebooks, report and run book: pure functions from data to a figure.

One file a picture; `svg.py` turns a figure into text for a page. Nothing here reads or writes files.
"""
