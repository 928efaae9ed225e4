"""The front door: one port over all deployments. It is a client of the control API like any other,
and of the deployments' own ports; it keeps nothing and computes nothing."""
