"""The servers here run with Pythons of their own, so pytest leaves them alone."""

collect_ignore = ["detector_server.py", "llama_server.py"]
