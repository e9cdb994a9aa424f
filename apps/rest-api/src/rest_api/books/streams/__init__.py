"""Many books at once: files in and files out, of any length, none of which is ever in memory as a whole.

importing.py and exporting.py are the endpoints. An upload goes from `book_runtime.delimited`, which cuts it, through
reading.py, which makes books of it, to upload_import.py, which brings them into the catalogue and keeps the report.
"""
