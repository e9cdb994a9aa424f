"""Errors as problem documents: how one is written, which error is told how, and the words for what is not valid.

Each room registers its own errors, so that this one knows none of them.
"""
