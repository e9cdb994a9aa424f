"""`colophon import`: a CSV file of books into the catalogue, over its REST API.

encoding.py finds out what a file is encoded in, rows.py reads it, books.py makes books of its rows, rest_client.py
calls the API, file_import.py does the import with these, file_report.py counts the outcome and prints it, command.py
is what people type. What the API does with an upload is `rest_api.books.streams`.
"""
