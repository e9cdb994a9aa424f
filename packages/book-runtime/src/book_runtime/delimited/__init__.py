"""Delimited text, CSV above all: bytes in, records out, and every line of them is accounted for.

lines.py cuts bytes into lines, fields.py cuts lines into fields, delimiter.py finds out what stands between them, and
records.py puts lines together to records, and takes apart again what a stray quote has put together. Nothing here is in
memory as a whole, and nothing takes more than a few times the time that the length of the text asks for.
"""
