"""The fetcher: from a model id to a verified snapshot on this disk.

One process per fetch (``python -m modeldeploy.hub``), asked and answering in
:mod:`modeldeploy.schema.fetch`. Importing this package imports nothing heavy; huggingface_hub is
imported only when the Hub is really asked.
"""
