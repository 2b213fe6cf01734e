"""The report: one self-contained HTML page of the records of a results folder."""
