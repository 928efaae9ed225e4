"""What a deployment answers over HTTP, whatever the dialect."""
