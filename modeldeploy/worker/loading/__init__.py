"""From a snapshot on disk to a model in memory."""
