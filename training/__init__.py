"""Scripts that train the models embedded in `modeldeploy.builtin`; not part of the wheel."""
